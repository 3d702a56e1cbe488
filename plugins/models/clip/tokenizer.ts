import { fail } from '../../../core/index.js';
import type { Files } from '../../persist/formats/files.js';
import { lowered, unicode16 } from './letters.js';

/** Text to a fixed number of int32 ids: begin, the text, end, padding. */
export interface Tokenizer {
  readonly length: number;
  readonly size: number;
  /** A text's ids; what is past the length is cut. */
  encode(text: string): Int32Array;
  /** The same with nothing cut: as many pieces of the length, each between begin and end, as the text fills; one at least. */
  chunks(text: string): Int32Array[];
  /** How many ids a text has, without begin and end, and with nothing cut. */
  count(text: string): number;
  /** What of a text reaches no model: words of which the vocabulary does not have all pieces, and how many ids are past its length. */
  lost(text: string): { readonly unknown: readonly string[]; readonly beyond: number };
  /** Writes its files into a folder. */
  save(files: Files, folder: string): Promise<void>;
}

/** What a text falls into, in the order in which it is tried. */
const WORDS = unicode16(
  String.raw`<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|(?:(?!\p{L}|\p{N})\P{White_Space})+`,
  'gu',
);
const LETTERS_OR_NOT = unicode16(String.raw`\p{L}+|(?:(?!\p{L})[^])+`, 'gu');

/** The words that CLIP's tokenizer splits a text into, lower-cased. */
export function clipWords(text: string): string[] {
  // Letter by letter, as its Rust library does: a final sigma stays like any other. White space is Unicode's: U+0085 is, U+FEFF is not.
  const clean = [...text.normalize('NFC').replace(/\p{White_Space}+/gu, ' ')].map(lowered).join('');
  const words = clean.match(WORDS) ?? [];
  // The library splits what it found once more, by GPT-2's pattern: what looks like a special token, but was written in capitals, falls apart.
  return words.flatMap((word) => (word.startsWith('<|') ? (word.match(LETTERS_OR_NOT) ?? []) : [word]));
}

/**
 * Byte-level BPE as CLIP's tokenizer does it (openai/CLIP, simple_tokenizer; transformers' CLIPTokenizer). `added` are tokens beside the special ones,
 * `where` is how errors name the vocabulary. BAD_TOKENIZER where that lacks a special token or the padding.
 */
export function clipTokenizer(
  vocabulary: Readonly<Record<string, number>>,
  merges: readonly string[],
  length: number,
  padding: string,
  { added = [], where = 'the vocabulary' }: { readonly added?: readonly string[]; readonly where?: string } = {},
): Tokenizer {
  // A text may have any word in it: an object would take some for its prototype's.
  const ids = new Map(Object.entries(vocabulary));
  const ranks = new Map(merges.map((merge, i) => [merge, i]));
  const letters = byteLetters();
  const needed = (name: string, as: string, fix: string) =>
    ids.get(name) ?? fail('BAD_TOKENIZER', 'tokenizer', `${where} has no ${name}, which is ${as}`, fix);
  const [begin, end] = [
    ['<|startoftext|>', "a text's begin"],
    ['<|endoftext|>', "a text's end"],
  ].map(([name, as]) => needed(name, as, 'Use the vocabulary of a CLIP tokenizer.'));
  const filler = needed(
    padding,
    'to be the padding',
    'Name one of its tokens as pad_token, in tokenizer_config.json or special_tokens_map.json.',
  );
  // Found in a text as they are, before anything else. So a `!` is one where `!` is the padding (SD 2, SDXL's second): id 0, not that of `!</w>`.
  const specials = new Set(['<|startoftext|>', '<|endoftext|>', padding, ...added].filter((name) => ids.has(name)));
  const isSpecial = new RegExp(`(${[...specials].map((name) => name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|')})`, 'u');
  /** The words of a text with the ids of their pieces; undefined where the vocabulary does not have one. */
  const wordsOf = (text: string): { word: string; found: (number | undefined)[] }[] =>
    text.split(isSpecial).flatMap((part) => {
      if (specials.has(part)) return [{ word: part, found: [ids.get(part)] }];
      return clipWords(part).map((word) => ({
        word,
        found: mergePairs(
          [...new TextEncoder().encode(word)].map((byte) => letters[byte]),
          ranks,
        ).map((piece) => ids.get(piece)),
      }));
    });
  const idsOf = (text: string): number[] => wordsOf(text).flatMap(({ found }) => found.map((id) => id ?? end));
  const room = length - 2;
  /** Ids between begin and end, filled up. */
  const framed = (some: readonly number[]): Int32Array => {
    const out = new Int32Array(length).fill(filler);
    out.set([begin, ...some.slice(0, room), end]);
    return out;
  };
  const named = { bos_token: '<|startoftext|>', eos_token: '<|endoftext|>', unk_token: '<|endoftext|>', pad_token: padding };
  return {
    length,
    size: ids.size,
    encode: (text) => framed(idsOf(text)),
    chunks(text) {
      const all = idsOf(text);
      return Array.from({ length: Math.max(1, Math.ceil(all.length / room)) }, (_, i) => framed(all.slice(i * room, (i + 1) * room)));
    },
    count: (text) => idsOf(text).length,
    lost(text) {
      const words = wordsOf(text);
      return {
        unknown: words.flatMap(({ word, found }) => (found.includes(undefined) ? [word] : [])),
        beyond: Math.max(0, words.reduce((sum, { found }) => sum + found.length, 0) - room),
      };
    },
    async save(files, folder) {
      await files.write(
        `${folder}/tokenizer_config.json`,
        `${JSON.stringify({ tokenizer_class: 'CLIPTokenizer', model_max_length: length, ...named }, null, 2)}\n`,
      );
      await files.write(`${folder}/special_tokens_map.json`, `${JSON.stringify(named, null, 2)}\n`);
      await files.write(`${folder}/vocab.json`, JSON.stringify(vocabulary));
      await files.write(`${folder}/merges.txt`, `#version: 0.2\n${merges.join('\n')}\n`);
    },
  };
}

/**
 * Joins neighbours, all of the pair with the least rank at a time and from the left, until no pair has a rank (Sennrich et al. 2016). The last letter is
 * marked as a word's end. A heap finds the pairs and a list of neighbours joins them: a word of n letters takes n log n steps.
 */
function mergePairs(letters: readonly string[], ranks: ReadonlyMap<string, number>): string[] {
  const parts: (string | null)[] = [...letters];
  const last = parts.length - 1;
  parts[last] += '</w>';
  const next = parts.map((_, i) => (i < last ? i + 1 : -1));
  const before = parts.map((_, i) => i - 1);
  /** Pairs to join, by rank and then place: [rank, place, the pair as it was]. */
  const heap: [number, number, string][] = [];
  const isBefore = (a: number, b: number) => heap[a][0] < heap[b][0] || (heap[a][0] === heap[b][0] && heap[a][1] < heap[b][1]);
  const swap = (a: number, b: number): void => {
    [heap[a], heap[b]] = [heap[b], heap[a]];
  };
  const push = (at: number): void => {
    if (at < 0 || next[at] < 0) return;
    const pair = `${parts[at]} ${parts[next[at]]}`;
    const rank = ranks.get(pair);
    if (rank === undefined) return;
    let i = heap.push([rank, at, pair]) - 1;
    while (i > 0 && isBefore(i, (i - 1) >> 1)) {
      swap(i, (i - 1) >> 1);
      i = (i - 1) >> 1;
    }
  };
  const pop = (): [number, number, string] => {
    const top = heap[0];
    const end = heap.pop() as [number, number, string];
    if (heap.length > 0) {
      heap[0] = end;
      for (let i = 0; ; ) {
        let least = i;
        for (const child of [2 * i + 1, 2 * i + 2]) if (child < heap.length && isBefore(child, least)) least = child;
        if (least === i) break;
        swap(i, least);
        i = least;
      }
    }
    return top;
  };
  for (let i = 0; i < last; i++) push(i);
  while (heap.length > 0) {
    const [rank] = heap[0];
    // All of this rank are joined before the pairs that this makes are looked at.
    const made: number[] = [];
    while (heap.length > 0 && heap[0][0] === rank) {
      const [, at, pair] = pop();
      const other = next[at];
      // One of the two may have been joined with another since.
      if (parts[at] === null || other < 0 || `${parts[at]} ${parts[other]}` !== pair) continue;
      parts[at] = `${parts[at]}${parts[other]}`;
      parts[other] = null;
      next[at] = next[other];
      if (next[at] >= 0) before[next[at]] = at;
      made.push(at);
    }
    for (const at of made)
      if (parts[at] !== null) {
        push(before[at]);
        push(at);
      }
  }
  return parts.filter((part) => part !== null);
}

/** GPT-2's map of bytes to printable characters: printable ones stand for themselves, the rest for code points from 256. */
export function byteLetters(): string[] {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
}
