import { firstWhere } from '../compute/first-where.js';

/** Memory that is needed from one moment to another, both included. */
export interface Span {
  readonly size: number;
  readonly first: number;
  readonly last: number;
}

/**
 * Which buffer each span has, where spans that overlap may share none: the largest first, each the smallest buffer that is free (Pisarchyk and Lee 2020,
 * "Efficient memory management for deep neural net inference", greedy by size). `there` are the sizes of buffers to begin with; `sizes` are those of all.
 */
export function planMemory(spans: readonly Span[], there: readonly number[]): { readonly at: readonly number[]; readonly sizes: number[] } {
  const sizes = [...there];
  const taken: Span[][] = sizes.map(() => []);
  /** Buffers from the smallest to the largest. */
  const order = [...sizes.keys()].sort((a, b) => sizes[a] - sizes[b]);
  const at = new Array<number>(spans.length);
  for (const k of [...spans.keys()].sort((a, b) => spans[b].size - spans[a].size)) {
    const span = spans[k];
    const from = firstWhere(0, order.length, (i) => sizes[order[i]] >= span.size);
    let place = order.slice(from).find((buffer) => {
      const after = firstAfter(taken[buffer], span);
      return after === taken[buffer].length || taken[buffer][after].first > span.last;
    });
    if (place === undefined) {
      place = sizes.push(span.size) - 1;
      taken.push([]);
      order.splice(from, 0, place);
    }
    at[k] = place;
    taken[place].splice(firstAfter(taken[place], span), 0, span);
  }
  return { at, sizes };
}

/** Among spans in order, the first that ends no sooner than another begins. */
const firstAfter = (spans: readonly Span[], { first }: Span): number => firstWhere(0, spans.length, (i) => spans[i].last >= first);
