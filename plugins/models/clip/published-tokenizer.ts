import { byteLetters, clipTokenizer, type Tokenizer } from './tokenizer.js';

/** Ids that a text encoder of Stable Diffusion is given. */
const LENGTH = 77;

/** CLIP's tokenizer from its merges alone: its vocabulary is the bytes' letters, the same at a word's end, what the merges make, and two special tokens. */
export function publishedTokenizer(merges: readonly string[], padding: string): Tokenizer {
  const byByte = byteLetters();
  // The printable bytes come first there.
  const letters = [...byByte].sort((a, b) => (a.codePointAt(0) as number) - (b.codePointAt(0) as number));
  const pieces = [
    ...letters,
    ...letters.map((letter) => `${letter}</w>`),
    ...merges.map((merge) => merge.replace(' ', '')),
    '<|startoftext|>',
    '<|endoftext|>',
  ];
  return clipTokenizer(Object.fromEntries(pieces.map((piece, id) => [piece, id])), merges, LENGTH, padding);
}
