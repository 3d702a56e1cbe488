import { byteLetters, clipTokenizer, clipWords, type Tokenizer } from './tokenizer.js';

/** The letters that bytes stand for, printable ones first, in CLIP's order. */
const letters = (): string[] => byteLetters().sort((a, b) => (a.codePointAt(0) as number) - (b.codePointAt(0) as number));

/**
 * A CLIP tokenizer learnt from texts (Sennrich et al. 2016, on bytes): the most frequent pair of neighbours is joined, of equally frequent ones the first
 * in the order of code points, until every word of the texts is one token. Other words fall apart into pieces. The same texts give the same tokenizer.
 */
export function learnTokenizer(texts: readonly string[], length: number): Tokenizer {
  const merges = learnMerges(texts);
  const pieces = [...letters(), ...letters().map((letter) => `${letter}</w>`), ...merges.map(([a, b]) => a + b)];
  const vocabulary = [...pieces, '<|startoftext|>', '<|endoftext|>'];
  return clipTokenizer(
    Object.fromEntries(vocabulary.map((piece, i) => [piece, i])),
    merges.map((pair) => pair.join(' ')),
    length,
    '<|endoftext|>',
  );
}

/** Pairs of pieces, in the order in which they are joined. */
function learnMerges(texts: readonly string[]): [string, string][] {
  const bytes = byteLetters();
  const counts = new Map<string, number>();
  for (const word of texts.flatMap(clipWords)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const words = [...counts].map(([word, count]) => {
    const parts = [...new TextEncoder().encode(word)].map((byte) => bytes[byte]);
    parts.push(`${parts.pop()}</w>`);
    return { parts, count };
  });
  /** How often neighbours stand side by side, and in which words: joining a pair changes those alone. */
  const pairs = new Map<string, { count: number; words: Set<(typeof words)[number]> }>();
  const note = (word: (typeof words)[number], sign: 1 | -1) => {
    for (let i = 1; i < word.parts.length; i++) {
      const pair = `${word.parts[i - 1]} ${word.parts[i]}`;
      const entry = pairs.get(pair) ?? { count: 0, words: new Set() };
      entry.count += sign * word.count;
      if (sign > 0) entry.words.add(word);
      else entry.words.delete(word);
      if (entry.count > 0) pairs.set(pair, entry);
      else pairs.delete(pair);
    }
  };
  for (const word of words) note(word, 1);
  const merges: [string, string][] = [];
  while (pairs.size > 0) {
    let [best, most] = ['', 0];
    for (const [pair, { count }] of pairs) if (count > most || (count === most && pair < best)) [best, most] = [pair, count];
    const [a, b] = best.split(' ');
    merges.push([a, b]);
    for (const word of [...(pairs.get(best)?.words ?? [])]) {
      note(word, -1);
      const joined: string[] = [];
      for (const part of word.parts) {
        if (part === b && joined.at(-1) === a) joined[joined.length - 1] = a + b;
        else joined.push(part);
      }
      word.parts = joined;
      note(word, 1);
    }
  }
  return merges;
}
