import { override, type Undo } from '../compute/undo.js';

/** What is used of koffi, which calls functions of the C library. */
interface Koffi {
  load(path: null): { func(prototype: string): (...args: number[]) => number };
  config(options?: Record<string, number>): Record<string, number>;
}

/** Beside what others in the process call through koffi, whose settings are fixed by its first call: mpi/library.ts has the same. */
const STACK = 8 << 20;
const ERROR_STREAM = 2;

/**
 * Does something, and keeps what native code writes to the error stream meanwhile from being seen: Dawn tells there of every driver that it cannot use,
 * beside the one that it takes. Gives it with the result. It is seen where STEPLOOM_DEBUG is set, as by --debug; where koffi is not installed; and on
 * Windows. In browsers nothing is written.
 */
export function unseen<T>(work: () => T): readonly [result: T, said: string] {
  const kept = redirect();
  if (!kept) return [work(), ''];
  let result: T;
  try {
    result = work();
  } catch (error) {
    // It may tell why.
    process.stderr.write(kept.restore());
    throw error;
  }
  return [result, kept.restore()];
}

/** Keeps the same from being seen until it is undone, for what several threads write: what JavaScript writes meanwhile is seen then. */
export function hideErrors(): Undo {
  const kept = redirect();
  if (!kept) return () => undefined;
  const { stderr } = process;
  const held: [string][] = [];
  const undo = override(stderr, { write: (...args: [string]) => held.push(args) > 0 });
  return () => {
    undo();
    kept.restore();
    for (const args of held) stderr.write(...args);
  };
}

/** Puts a file in the error stream's place. `restore` takes it away, and gives what was written to it. */
function redirect(): { restore(): string } | null {
  const builtin = globalThis.process?.getBuiltinModule;
  if (!builtin || process.platform === 'win32' || process.env.STEPLOOM_DEBUG) return null;
  const [fs, { tmpdir }, { join }] = [builtin('node:fs'), builtin('node:os'), builtin('node:path')];
  try {
    const koffi = builtin('node:module').createRequire(import.meta.url)('koffi') as Koffi;
    const settings = koffi.config();
    if (settings.async_stack_size !== STACK) koffi.config({ ...settings, async_stack_size: STACK });
    const library = koffi.load(null);
    const [dup, dup2] = [library.func('int dup(int)'), library.func('int dup2(int, int)')];
    const folder = fs.mkdtempSync(join(tmpdir(), 'steploom-'));
    const file = fs.openSync(join(folder, 'said'), 'w+');
    fs.rmSync(folder, { recursive: true });
    const stream = dup(ERROR_STREAM);
    if (stream >= 0) dup2(file, ERROR_STREAM);
    return {
      restore() {
        if (stream >= 0) {
          dup2(stream, ERROR_STREAM);
          fs.closeSync(stream);
        }
        const bytes = new Uint8Array(fs.fstatSync(file).size);
        fs.readSync(file, bytes, 0, bytes.length, 0);
        fs.closeSync(file);
        return new TextDecoder().decode(bytes);
      },
    };
  } catch {
    // No koffi, or no folder for a file: what is written is seen.
    return null;
  }
}
