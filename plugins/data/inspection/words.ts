import type { Tokenizer } from '../../models/clip/tokenizer.js';

/** A word of captions, how many of them have it, and into how many tokens it falls. */
export interface Word {
  readonly word: string;
  readonly captions: number;
  readonly tokens: number;
}

/** What captions are to a model's tokenizers. */
export interface CaptionWords {
  /** Tokens that a caption may have; what is beyond is cut. */
  readonly limit: number;
  /** Captions that have more, by their places, and how many. */
  readonly long: readonly { readonly caption: number; readonly tokens: number }[];
  /** Words of which the vocabulary does not have all pieces, the most frequent first. */
  readonly unknown: readonly Word[];
  /** Words that fall into many pieces, those of most first: the model has hardly met them. */
  readonly pieces: readonly Word[];
  /** Words that only one caption has. */
  readonly once: readonly string[];
}

/** Letters and digits that stand together, in small letters. */
const splitWords = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/** So many tokens a word are many. */
const MANY = 4;

/** Looks at captions as the tokenizers of a model do; of several the one counts that makes most of a text. */
export function wordsOf(captions: readonly string[], tokenizers: readonly Tokenizer[]): CaptionWords {
  const tokensOf = (text: string) => Math.max(...tokenizers.map((tokenizer) => tokenizer.count(text)));
  const limit = Math.min(...tokenizers.map(({ length }) => length - 2));
  const counts = new Map<string, number>();
  const long: CaptionWords['long'][number][] = [];
  for (const [caption, text] of captions.entries()) {
    const tokens = tokensOf(text);
    if (tokens > limit) long.push({ caption, tokens });
    for (const word of new Set(splitWords(text))) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const words = [...counts].map(([word, captions]): Word => ({ word, captions, tokens: tokensOf(word) }));
  return {
    limit,
    long,
    unknown: words
      .filter(({ word }) => tokenizers.some(({ lost }) => lost(word).unknown.length > 0))
      .sort((a, b) => b.captions - a.captions),
    pieces: words.filter(({ tokens }) => tokens >= MANY).sort((a, b) => b.tokens - a.tokens),
    once: words.filter(({ captions }) => captions === 1).map(({ word }) => word),
  };
}
