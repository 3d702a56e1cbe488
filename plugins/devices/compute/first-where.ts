/** The first of the whole numbers from `low` up to, not including, `high` for which `holds`; `high` where it holds for none. Once it holds it holds on. */
export function firstWhere(low: number, high: number, holds: (at: number) => boolean): number {
  let [from, to] = [low, high];
  while (from < to) {
    const middle = Math.floor((from + to) / 2);
    if (holds(middle)) to = middle;
    else from = middle + 1;
  }
  return from;
}
