import { type Problem, SteploomError } from '../../../core/index.js';
import type { Entry } from './entry.js';

/** Images looked at together. */
const AT_ONCE = 8;

/** Every entry whose image is broken, with what is wrong. */
export async function faultsOf(entries: readonly Entry[], look: (entry: Entry) => Promise<unknown>): Promise<Map<Entry, Problem>> {
  const faults = new Map<Entry, Problem>();
  for (let at = 0; at < entries.length; at += AT_ONCE)
    await Promise.all(
      entries.slice(at, at + AT_ONCE).map(async (entry) => {
        try {
          await look(entry);
        } catch (error) {
          if (!(error instanceof SteploomError)) throw error;
          faults.set(entry, error.problems[0]);
        }
      }),
    );
  return new Map(entries.flatMap((entry) => (faults.has(entry) ? [[entry, faults.get(entry) as Problem]] : [])));
}
