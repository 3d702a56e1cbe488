import { clipTokenizer, type Tokenizer } from '../../plugins/models/clip/tokenizer.js';

/**
 * A CLIP tokenizer with a vocabulary of these words alone, one token each, from id 2 on; 0 is a text's begin, 1 its end and the padding. Of other words it
 * has no more than some letters. Throws where the letters of one word are joined by the merges of another.
 */
export function wordsOnly(words: readonly string[], length: number): Tokenizer {
  const merges: string[] = [];
  for (const word of words) {
    const letters = [...word.slice(0, -1), `${word.at(-1)}</w>`];
    for (let i = 1; i < letters.length; i++) merges.push(`${letters.slice(0, i).join('')} ${letters[i]}`);
  }
  const pieces = merges.flatMap((merge) => [...merge.split(' '), merge.replace(' ', '')]);
  const all = ['<|startoftext|>', '<|endoftext|>', ...words.map((word) => `${word}</w>`), ...pieces];
  const tokenizer = clipTokenizer(Object.fromEntries([...new Set(all)].map((piece, id) => [piece, id])), merges, length, '<|endoftext|>');
  for (const word of words) if (tokenizer.count(word) !== 1) throw new Error(`${word} falls into ${tokenizer.count(word)} tokens`);
  return tokenizer;
}
