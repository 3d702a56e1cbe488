/**
 * Deals tensors out to ranks, whole, so that each has about as many elements: the largest first, each to the rank that has least by then. The same on every
 * rank. By path.
 */
export function ownersOf(sizes: ReadonlyMap<string, number>, worldSize: number): Map<string, number> {
  const load = new Array<number>(worldSize).fill(0);
  const owners = new Map<string, number>();
  const largestFirst = [...sizes].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  for (const [path, size] of largestFirst) {
    const rank = load.indexOf(Math.min(...load));
    owners.set(path, rank);
    load[rank] += size;
  }
  return owners;
}
