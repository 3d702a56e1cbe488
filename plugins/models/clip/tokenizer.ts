import { fail } from '../../../core/index.js';
import { type Files, readJson } from '../../persist/formats/files.js';

/** Text to a fixed number of int32 ids: begin, the text, end, padding. */
export interface Tokenizer {
  readonly length: number;
  readonly size: number;
  encode(text: string): Int32Array;
  /** Writes its files below tokenizer/. */
  save(files: Files): Promise<void>;
}

const pad = (ids: number[], length: number, begin: number, end: number, padding: number): Int32Array => {
  const out = new Int32Array(length).fill(padding);
  out.set([begin, ...ids.slice(0, length - 2), end]);
  return out;
};

/** Words, split at what is no letter or digit and lower-cased. Begin is 0, end and padding 1; unknown words are left out. */
export function wordTokenizer(words: readonly string[], length: number): Tokenizer {
  const index = new Map(words.map((word, i) => [word, i + 2]));
  return {
    length,
    size: words.length + 2,
    encode: (text) =>
      pad(
        splitWords(text).flatMap((word) => index.get(word) ?? []),
        length,
        0,
        1,
        1,
      ),
    async save(files) {
      await files.write(
        'tokenizer/tokenizer_config.json',
        `${JSON.stringify({ tokenizer_class: 'WordTokenizer', model_max_length: length }, null, 2)}\n`,
      );
      await files.write('tokenizer/vocab.json', `${JSON.stringify(Object.fromEntries([['<begin>', 0], ['<end>', 1], ...index]))}\n`);
    },
  };
}

export const splitWords = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/** Byte-level BPE as CLIP's tokenizer does it (openai/CLIP, simple_tokenizer; transformers' CLIPTokenizer). */
export function clipTokenizer(
  vocabulary: Readonly<Record<string, number>>,
  merges: readonly string[],
  length: number,
  padding: string,
): Tokenizer {
  const ranks = new Map(merges.map((merge, i) => [merge, i]));
  const letters = byteLetters();
  const [begin, end] = ['<|startoftext|>', '<|endoftext|>'].map(
    (name) =>
      vocabulary[name] ?? fail('BAD_TOKENIZER', 'tokenizer', `vocab.json has no ${name}`, 'Use the vocab.json of a CLIP tokenizer.'),
  );
  const pieces = (word: string): string[] => {
    let parts = [...word];
    parts[parts.length - 1] += '</w>';
    while (parts.length > 1) {
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i + 1 < parts.length; i++) best = Math.min(best, ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? best);
      if (best === Number.POSITIVE_INFINITY) break;
      const joined: string[] = [];
      for (let i = 0; i < parts.length; i++)
        if (i + 1 < parts.length && ranks.get(`${parts[i]} ${parts[i + 1]}`) === best) joined.push(parts[i] + parts[++i]);
        else joined.push(parts[i]);
      parts = joined;
    }
    return parts;
  };
  return {
    length,
    size: Object.keys(vocabulary).length,
    encode(text) {
      const clean = text.normalize('NFC').replace(/\s+/g, ' ').trim().toLowerCase();
      const words = clean.match(/'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/gu) ?? [];
      const ids = words.flatMap((word) =>
        pieces([...new TextEncoder().encode(word)].map((byte) => letters[byte]).join('')).map((piece) => vocabulary[piece] ?? end),
      );
      return pad(ids, length, begin, end, vocabulary[padding] ?? end);
    },
    async save(files) {
      await files.write(
        'tokenizer/tokenizer_config.json',
        `${JSON.stringify({ tokenizer_class: 'CLIPTokenizer', model_max_length: length, pad_token: padding }, null, 2)}\n`,
      );
      await files.write('tokenizer/vocab.json', JSON.stringify(vocabulary));
      await files.write('tokenizer/merges.txt', `#version: 0.2\n${merges.join('\n')}\n`);
    },
  };
}

/** GPT-2's map of bytes to printable characters: printable ones stand for themselves, the rest for code points from 256. */
function byteLetters(): string[] {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
}

/** Opens a tokenizer/ folder: CLIP's, or our word-level one. */
export async function loadTokenizer(files: Files): Promise<Tokenizer> {
  const config = await readJson(files, 'tokenizer/tokenizer_config.json');
  const vocabulary = (await readJson(files, 'tokenizer/vocab.json')) as Record<string, number>;
  const length = Number(config.model_max_length ?? 77);
  if (config.tokenizer_class === 'WordTokenizer') {
    const words = Object.entries(vocabulary).sort((a, b) => a[1] - b[1]);
    return wordTokenizer(
      words.slice(2).map(([word]) => word),
      length,
    );
  }
  if (config.tokenizer_class !== 'CLIPTokenizer' && config.tokenizer_class !== 'CLIPTokenizerFast')
    fail(
      'UNSUPPORTED_OPTION',
      'tokenizer',
      `${files.where}/tokenizer: tokenizer_class ${JSON.stringify(config.tokenizer_class)} is not supported`,
      'CLIPTokenizer and WordTokenizer are.',
    );
  const merges = await files.read('tokenizer/merges.txt');
  if (!merges) fail('FILE_MISSING', 'tokenizer', `${files.where}/tokenizer/merges.txt is missing`, 'Save it beside vocab.json.');
  const lines = new TextDecoder()
    .decode(merges as Uint8Array)
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#version'));
  const special = config.pad_token as string | { content: string } | undefined;
  return clipTokenizer(vocabulary, lines, length, typeof special === 'object' ? special.content : (special ?? '<|endoftext|>'));
}
