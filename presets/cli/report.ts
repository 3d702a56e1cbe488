import { type ErrorCode, messageOf, printable, SteploomError } from '../../core/index.js';
import { problemLines } from '../../plugins/distributed/mpi/error-lines.js';
import { wasPrinted } from '../../plugins/distributed/mpi/report.js';
import { snake } from '../common/option-facts.js';
import { PRESETS } from './registry.js';

/** What the command line adds to an error: the flag that would mend it. */
const FLAGS: Partial<Record<ErrorCode, string>> = {
  SNAPSHOT_OTHER_RUN: 'Differences that are meant are named with --resume_override.',
};

/** Options of several words by their names in code, as plugins speak of them, and the flags that they are here. */
const flagOf = new Map(
  [...Object.values(PRESETS).map(({ options }) => Object.keys(options.shape)), ['overwriteOutput', 'overwriteOutputDir']].flatMap((names) =>
    names.flatMap((name) => (snake(name) === name ? [] : [[name, `--${snake(name)}`] as const])),
  ),
);
const inFlags = (line: string): string => line.replace(/(?<![\w/.-])[a-z]\w*[A-Z]\w*(?![\w/]|\.\w)/g, (name) => flagOf.get(name) ?? name);

const laterThan = (error: unknown): readonly unknown[] => (error as { later?: readonly unknown[] } | null | undefined)?.later ?? [];

const then = (error: unknown): string[] => laterThan(error).map((later) => `then: ${messageOf(later)}`);

const flagsFor = (error: unknown): string[] =>
  error instanceof SteploomError ? error.problems.flatMap(({ code }) => FLAGS[code] ?? []) : [];

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
    return debug || !(error instanceof Error) ? everything(error) : [error.stack ?? error.message, ...then(error)];
  const lines = problemLines(error, FLAGS).map(inFlags);
  if (debug) return [...lines, ...everything(error)];
  return [...lines, ...then(error)];
}

/** Prints an error; of one that the process printed already with its rank, only what that left out. */
export function printError(error: unknown, options: { debug?: boolean } = {}): void {
  const lines = wasPrinted(error) && !options.debug ? [...flagsFor(error), ...then(error)] : errorLines(error, options);
  for (const line of lines) console.error(printable(line));
}
