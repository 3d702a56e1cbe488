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
  let words = [...counts].map(([word, count]) => {
    const parts = [...new TextEncoder().encode(word)].map((byte) => bytes[byte]);
    parts.push(`${parts.pop()}</w>`);
    return { parts, count };
  });
  const merges: [string, string][] = [];
  for (;;) {
    words = words.filter(({ parts }) => parts.length > 1);
    if (words.length === 0) return merges;
    const pairs = new Map<string, number>();
    for (const { parts, count } of words)
      for (let i = 1; i < parts.length; i++) {
        const pair = `${parts[i - 1]} ${parts[i]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + count);
      }
    let [best, most] = ['', 0];
    for (const [pair, count] of pairs) if (count > most || (count === most && pair < best)) [best, most] = [pair, count];
    const [a, b] = best.split(' ');
    merges.push([a, b]);
    for (const word of words) {
      const joined: string[] = [];
      for (const part of word.parts) {
        if (part === b && joined.at(-1) === a) joined[joined.length - 1] = a + b;
        else joined.push(part);
      }
      word.parts = joined;
    }
  }
}
