import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { ran } from './mpi.js';

/** Runs a script of Node's, named from the folder `test`, to its end, which must be a good one; returns what it printed. */
export async function script(path: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const { code, output } = await ran(process.execPath, ['--expose-gc', fileURLToPath(new URL(`../${path}`, import.meta.url)), ...args], {
    env,
    limit: 110,
  });
  expect(code, output).toBe(0);
  return output;
}
