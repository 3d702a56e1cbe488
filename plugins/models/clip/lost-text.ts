import type { Tokenizer } from './tokenizer.js';

/** What of some texts a tokenizer drops, in words, counted: words that it does not know, and what is past its length. */
export function lostText(tokenizer: Tokenizer, texts: readonly string[], what: string): string[] {
  const unknown = new Map<string, number>();
  const long: string[] = [];
  let withUnknown = 0;
  for (const text of texts) {
    const lost = tokenizer.lost(text);
    if (lost.unknown.length > 0) withUnknown++;
    for (const word of lost.unknown) unknown.set(word, (unknown.get(word) ?? 0) + 1);
    if (lost.beyond > 0) long.push(text);
  }
  const said: string[] = [];
  const names = [...unknown].sort((a, b) => b[1] - a[1]).map(([word, count]) => `${word} (${count})`);
  if (names.length > 0)
    said.push(
      `${withUnknown} of ${texts.length} ${what} have words that the model does not know, which are left out: ${names.slice(0, 10).join(', ')}${names.length > 10 ? `, and ${names.length - 10} more` : ''}`,
    );
  if (long.length > 0)
    said.push(
      `${long.length} of ${texts.length} ${what} are longer than the model's ${tokenizer.length} tokens, and are cut there: "${long[0].slice(0, 60)}${long[0].length > 60 ? '...' : ''}"${long.length > 1 ? ' and others' : ''}`,
    );
  return said;
}
