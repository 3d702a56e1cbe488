// Compiles index.ts and what it imports for the backend's plain memory and for its shared one, each with relaxed SIMD and without, and writes them as base64
// into ../module-binary.ts, so that they travel with bundles. npm run build calls this.
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const folder = new URL('.', import.meta.url);
const target = fileURLToPath(new URL('../module-binary.ts', import.meta.url));

// What is compiled, and by what: the same is not compiled again.
const hash = createHash('sha256').update(asc.version);
for (const name of (await readdir(folder)).sort()) hash.update(name).update(await readFile(new URL(name, folder)));
const first = `// Made by assembly/build.mjs from assembly/index.ts: ${hash.digest('hex')}\n`;
if ((await readFile(target, 'utf8').catch(() => '')).startsWith(first)) process.exit();

async function compile(shared, relaxed) {
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
  if (relaxed) options.push('--enable', 'relaxed-simd');
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

const constants = [
  ['PLAIN', false, false],
  ['SHARED', true, false],
  ['PLAIN_RELAXED', false, true],
  ['SHARED_RELAXED', true, true],
];
const lines = [];
for (const [name, ...kind] of constants) lines.push(`export const ${name} =\n  '${await compile(...kind)}';\n`);
await writeFile(target, first + lines.join(''));
