import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { format } from 'node:util';
import { vi } from 'vitest';
import { commandLine } from '../../presets/cli/command-line.js';

/** The command line's script. */
export const CLI = fileURLToPath(new URL('../../dist/presets/cli/main.js', import.meta.url));

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** `steploom` with these arguments in a folder, in a process of its own. */
export const inOwnProcess = (cwd: string, args: readonly string[]): Promise<Said> =>
  new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { cwd }, (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }));
  });

/** The same in the test's own process, which need not load TensorFlow.js again. One at a time. */
export async function inThisProcess(cwd: string, args: readonly string[]): Promise<Said> {
  const said = { out: '', err: '' };
  const streams = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      said[name === 'stdout' ? 'out' : 'err'] += text;
      return true;
    }),
  );
  const lines = (['log', 'error', 'warn'] as const).map((name) =>
    vi.spyOn(console, name).mockImplementation((...given) => {
      said[name === 'log' ? 'out' : 'err'] += `${format(...given)}\n`;
    }),
  );
  const [before, { exitCode }] = [process.cwd(), process];
  process.chdir(cwd);
  process.exitCode = undefined;
  try {
    await commandLine(args);
    return { code: Number(process.exitCode ?? 0), ...said };
  } finally {
    for (const spy of [...streams, ...lines]) spy.mockRestore();
    process.chdir(before);
    process.exitCode = exitCode;
  }
}
