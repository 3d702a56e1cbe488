import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** How users resolve modules: a bundler's way, or Node's. */
export const RESOLUTIONS = { bundler: { module: 'ESNext' }, nodenext: { module: 'NodeNext' } } as const;

export interface TypeCheck {
  readonly resolution: keyof typeof RESOLUTIONS;
  /** Types of a browser's author: the package's part for browsers, and nothing of Node. */
  readonly browser?: boolean;
}

/**
 * Compiles files under the strictest settings that users have, declarations of libraries included and those of Node left out, and gives the errors.
 * Those within TensorFlow.js's declarations are left out: 4.22's do not compile with skipLibCheck: false, whoever imports them.
 */
export async function typeErrors(files: readonly string[], { resolution, browser = false }: TypeCheck): Promise<string[]> {
  const scratch = await mkdtemp(join(root, 'test', '.types-'));
  try {
    const compilerOptions = {
      target: 'ES2022',
      ...RESOLUTIONS[resolution],
      moduleResolution: resolution,
      lib: ['ES2023', 'DOM', 'DOM.Iterable'],
      types: [],
      ...(browser ? { customConditions: ['browser'] } : {}),
      experimentalDecorators: true,
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
      noEmit: true,
    };
    await writeFile(join(scratch, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    const { stdout } = spawnSync(process.execPath, [tsc, '-p', scratch, '--pretty', 'false'], { cwd: root, encoding: 'utf8' });
    // What is indented goes on with the error above it.
    const errors = stdout.split(/\n(?! )/).filter((error) => error !== '');
    return errors.filter((error) => !error.startsWith('node_modules/@tensorflow/'));
  } finally {
    await rm(scratch, { recursive: true });
  }
}
