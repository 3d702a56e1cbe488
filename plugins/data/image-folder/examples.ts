import type { Entry } from './entry.js';

/** What an epoch shows. */
export interface Examples {
  /** The entry of each example. */
  readonly entries: readonly number[];
  /** How many of them are the first of a pair, or alone; with a class, example `pairs + i` is what example i goes with. */
  readonly pairs: number;
}

/** Examples of a folder's entries: repeated as they say. With pictures of a class each is paired with one of them, and the fewer of both begin again. */
export function examplesOf(entries: readonly Entry[]): Examples {
  const some = (isPrior: boolean) =>
    entries.flatMap(({ repeats = 1, prior }, at) => ((prior !== undefined) === isPrior ? new Array<number>(repeats).fill(at) : []));
  const [own, priors] = [some(false), some(true)];
  if (own.length === 0 || priors.length === 0) return { entries: own, pairs: own.length };
  const pairs = Math.max(own.length, priors.length);
  const around = (list: readonly number[]) => Array.from({ length: pairs }, (_, i) => list[i % list.length]);
  return { entries: [...around(own), ...around(priors)], pairs };
}
