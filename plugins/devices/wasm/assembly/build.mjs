// Compiles index.ts and what it imports twice, for the backend's plain memory and for its shared one, and writes both as base64 into
// ../module-binary.ts, so that they travel with bundles. npm run build calls this.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const folder = new URL('.', import.meta.url);
const target = fileURLToPath(new URL('../module-binary.ts', import.meta.url));

async function compile(shared) {
  let binary;
  const options = [
    '--optimizeLevel',
    '3',
    '--runtime',
    'stub',
    '--noAssert',
    '--importMemory',
    '--enable',
    'simd',
    '--disable',
    'bulk-memory',
  ];
  if (shared) options.push('--enable', 'threads', '--sharedMemory', '--maximumMemory', '65536');
  const { error, stderr } = await asc.main(['index.ts', ...options, '--outFile', 'out.wasm'], {
    // AssemblyScript asks for files that are not there as well, and takes null for no.
    readFile: (name) => readFile(new URL(name, folder), 'utf8').catch(() => null),
    writeFile: (_, contents) => {
      binary = contents;
    },
    listFiles: () => [],
  });
  if (error) throw new Error(`${error.message}\n${stderr}`);
  return Buffer.from(binary).toString('base64');
}

await writeFile(
  target,
  `// Made by assembly/build.mjs from assembly/index.ts.\nexport const PLAIN =\n  '${await compile(false)}';\nexport const SHARED =\n  '${await compile(true)}';\n`,
);
