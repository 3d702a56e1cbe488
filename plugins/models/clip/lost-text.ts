import type { Source } from '../../../core/index.js';
import type { Tokenizer } from './tokenizer.js';

/** Texts that are named one by one. */
const SHOWN = 10;

const firstOf = (names: readonly string[]): string =>
  `${names.slice(0, SHOWN).join(', ')}${names.length > SHOWN ? `, and ${names.length - SHOWN} more` : ''}`;

/**
 * What of some texts a tokenizer drops, in words, counted: words whose pieces it does not know, and what is past its length. Up to ten of the texts are named,
 * by `nameOf` or, without it, by how they begin.
 */
export function lostText(tokenizer: Tokenizer, texts: readonly string[], what: string, nameOf?: (i: number) => string): string[] {
  const name = (i: number): string => nameOf?.(i) ?? `"${texts[i].slice(0, 60)}${texts[i].length > 60 ? '...' : ''}"`;
  const unknown = new Map<string, number>();
  const withUnknown: string[] = [];
  const long: string[] = [];
  for (const [i, text] of texts.entries()) {
    const lost = tokenizer.lost(text);
    if (lost.unknown.length > 0) withUnknown.push(name(i));
    for (const word of lost.unknown) unknown.set(word, (unknown.get(word) ?? 0) + 1);
    if (lost.beyond > 0) long.push(name(i));
  }
  const said: string[] = [];
  const words = [...unknown].sort((a, b) => b[1] - a[1]).map(([word, count]) => `${word} (${count})`);
  if (words.length > 0)
    said.push(
      `${withUnknown.length} of ${texts.length} ${what} have words that the model does not know, which it takes for the end of a text: ${firstOf(words)}; of ${firstOf(withUnknown)}`,
    );
  if (long.length > 0)
    said.push(
      `${long.length} of ${texts.length} ${what} are longer than the model's ${tokenizer.length} tokens, and are cut there: ${firstOf(long)}`,
    );
  return said;
}

/** The same of a data set's captions, named as it names its examples. */
export const lostCaptions = (tokenizer: Tokenizer, source: Pick<Source, 'strings' | 'nameOf'>, what: string): string[] =>
  lostText(tokenizer, source.strings?.text ?? [], what, source.nameOf && ((i) => source.nameOf?.(i) ?? ''));
