import { type Collective, printable, SteploomError } from '../../../core/index.js';
import { problemLines } from './error-lines.js';

const PRINTED = Symbol('steploom: printed');

/** Whether an error was printed already, with its rank. */
export const wasPrinted = (error: unknown): boolean => typeof error === 'object' && error !== null && PRINTED in error;

/** Prints an error with this process's rank before each line. */
export function report({ rank, worldSize }: Pick<Collective, 'rank' | 'worldSize'>, error: unknown): void {
  if (typeof error === 'object' && error !== null) Reflect.defineProperty(error, PRINTED, { value: true });
  const lines =
    error instanceof SteploomError ? problemLines(error) : [error instanceof Error ? (error.stack ?? error.message) : String(error)];
  for (const line of lines) console.error(printable(`rank ${rank} of ${worldSize}: ${line}`));
}
