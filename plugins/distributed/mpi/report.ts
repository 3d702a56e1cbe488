import { type Collective, SteploomError } from '../../../core/index.js';

const printed = new WeakSet<object>();

/** Whether an error was printed already, with its rank. */
export const wasPrinted = (error: unknown): boolean => typeof error === 'object' && error !== null && printed.has(error);

/** Prints an error with this process's rank, each of its problems in a line. */
export function report({ rank, worldSize }: Collective, error: unknown): void {
  if (typeof error === 'object' && error !== null) printed.add(error);
  const lines =
    error instanceof SteploomError
      ? error.problems.map(({ code, plugin, what, fix }) => `error ${code} (${plugin}): ${what}. ${fix}`)
      : [error instanceof Error ? (error.stack ?? error.message) : String(error)];
  for (const line of lines) console.error(`rank ${rank} of ${worldSize}: ${line}`);
}
