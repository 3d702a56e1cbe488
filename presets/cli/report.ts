import { isAbsolute, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, messageOf, problemText, SteploomError } from '../../core/index.js';
import { wasPrinted } from '../../plugins/distributed/mpi/report.js';

/** What the command line adds to an error: the flag that would mend it. */
const FLAGS: Partial<Record<ErrorCode, string>> = {
  SNAPSHOT_OTHER_RUN: 'Differences that are meant are named with --resume_override.',
};

/** The folders of steploom's code, in dist/ or the sources. */
const steploom = ['core', 'plugins', 'presets'].map((room) => join(fileURLToPath(new URL('../..', import.meta.url)), room, sep));

/** Where in a stack the user's code stands: the first frame that is not Node's, steploom's or an installed package's. */
export function userFrame(stack: string): string | null {
  for (const line of stack.split('\n')) {
    const [, path, at] = /^\s+at .*?((?:file:\/\/|\/|[A-Za-z]:\\)[^()]*?):(\d+)(?::\d+)?\)?$/.exec(line) ?? [];
    if (!path) continue;
    const file = path.startsWith('file:') ? fileURLToPath(path) : path;
    if (/[\\/]node_modules[\\/]/.test(file) || steploom.some((room) => file.startsWith(room))) continue;
    const near = relative(process.cwd(), file);
    return `${near.startsWith('..') || isAbsolute(near) ? file : near}:${at}`;
  }
  return null;
}

const laterThan = (error: unknown): readonly unknown[] => (error as { later?: readonly unknown[] } | null | undefined)?.later ?? [];

/** The stack of whatever was thrown, with the stacks of its causes and of what went wrong afterwards. */
function everything(error: unknown, seen = new Set<unknown>()): string[] {
  if (seen.has(error)) return [];
  seen.add(error);
  if (!(error instanceof Error)) return [String(error)];
  const below = (title: string, part: unknown) => everything(part, seen).map((text, i) => (i === 0 ? `${title}: ${text}` : text));
  return [
    error.stack ?? error.message,
    ...(error.cause === undefined ? [] : below('caused by', error.cause)),
    ...laterThan(error).flatMap((later) => below('then', later)),
  ];
}

/**
 * An error as the command line shows it: a line for each problem, the user's line where a plugin threw, and what went wrong afterwards;
 * with `debug` every stack.
 */
export function errorLines(error: unknown, { debug = false } = {}): string[] {
  if (!(error instanceof SteploomError))
    return debug || !(error instanceof Error)
      ? everything(error)
      : [error.stack ?? error.message, ...laterThan(error).map((later) => `then: ${messageOf(later)}`)];
  const lines = error.problems.map((problem) => {
    const flag = FLAGS[problem.code];
    return `error ${problemText(problem)}${flag ? ` ${flag}` : ''}`;
  });
  const at = error.code === 'HOOK_THREW' && error.cause instanceof Error ? userFrame(error.cause.stack ?? '') : null;
  if (at) lines.push(` at ${at}`);
  if (debug) return [...lines, ...everything(error)];
  return [...lines, ...error.later.map((later) => `then: ${messageOf(later)}`)];
}

/** Prints an error, unless the process printed it already with its rank. */
export function printError(error: unknown, options: { debug?: boolean } = {}): void {
  if (wasPrinted(error) && !options.debug) return;
  for (const line of errorLines(error, options)) console.error(line);
}
