/** Letters to put in, take out or change to make one word of another (Levenshtein). */
function stepsBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) next.push(Math.min(next[j] + 1, row[j + 1] + 1, row[j] + (letter === b[j] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}

/** The name that somebody who wrote `word` may have meant; undefined where none is near. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const [near] = names.map((name) => ({ name, steps: stepsBetween(word, name) })).sort((a, b) => a.steps - b.steps);
  return near && near.steps < word.length && near.steps <= Math.max(2, word.length / 4) ? near.name : undefined;
}
