import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { seededRandom } from '../../../../core/index.js';
import { loadTokenizer } from '../../../../plugins/models/clip/load-tokenizer.js';
import { lostText } from '../../../../plugins/models/clip/lost-text.js';
import { publishedTokenizer } from '../../../../plugins/models/clip/published-tokenizer.js';
import { clipTokenizer, wordTokenizer } from '../../../../plugins/models/clip/tokenizer.js';
import { inMemory } from '../../../../plugins/persist/formats/files.js';

/** Pairs of a few letters and of what they make, in an order drawn from the seed. */
function drawn(seed: number) {
  const random = seededRandom(seed).named('merges');
  const known = ['a', 'b', 'c', 'a</w>', 'b</w>', 'c</w>'];
  const merges: string[] = [];
  for (let i = 0; i < 40; i++) {
    const left = known.filter((piece) => !piece.endsWith('</w>'))[random.integer(known.filter((piece) => !piece.endsWith('</w>')).length)];
    const right = known[random.integer(known.length)];
    const merge = `${left} ${right}`;
    if (merges.includes(merge) || (left + right).length > 12) continue;
    merges.splice(random.integer(merges.length + 1), 0, merge);
    known.push(left + right);
  }
  const vocabulary = Object.fromEntries([...new Set(known), '<|startoftext|>', '<|endoftext|>'].map((piece, i) => [piece, i]));
  return { merges, vocabulary, random };
}

/** Byte-pair encoding as its definition has it: all of the pair with the least rank, from the left, again and again. */
function byDefinition(word: string, merges: readonly string[]): string[] {
  let parts = [...word];
  parts[parts.length - 1] += '</w>';
  for (;;) {
    const ranks = parts.slice(1).map((right, i) => merges.indexOf(`${parts[i]} ${right}`));
    const best = Math.min(...ranks.filter((rank) => rank >= 0));
    if (!Number.isFinite(best)) return parts;
    const next: string[] = [];
    for (let i = 0; i < parts.length; i++)
      if (i + 1 < parts.length && `${parts[i]} ${parts[i + 1]}` === merges[best]) next.push(parts[i] + parts[++i]);
      else next.push(parts[i]);
    parts = next;
  }
}

test('pairs are joined as byte-pair encoding defines it', () => {
  for (let seed = 0; seed < 20; seed++) {
    const { merges, vocabulary, random } = drawn(seed);
    const tokenizer = clipTokenizer(vocabulary, merges, 64, '<|endoftext|>');
    for (let k = 0; k < 20; k++) {
      const word = Array.from({ length: 1 + random.integer(30) }, () => 'abc'[random.integer(3)]).join('');
      const expected = byDefinition(word, merges).map((piece) => vocabulary[piece]);
      expect([...tokenizer.encode(word)].slice(1, 1 + expected.length), `${seed} ${word}`).toEqual(expected);
    }
  }
});

test('a word of 100,000 letters takes no longer than its letters', () => {
  const { merges, vocabulary } = drawn(1);
  const tokenizer = clipTokenizer(vocabulary, merges, 77, '<|endoftext|>');
  // By the definition this takes minutes.
  const ids = tokenizer.encode('abc'.repeat(33_333));
  expect(ids).toHaveLength(77);
}, 5000);

test('what of a text reaches no model is counted and named', () => {
  const tokenizer = wordTokenizer(['red', 'heart'], 4);
  expect(tokenizer.lost('a photo of sks')).toEqual({ unknown: ['a', 'photo', 'of', 'sks'], beyond: 0 });
  expect(tokenizer.lost('red red heart red')).toEqual({ unknown: [], beyond: 2 });
  expect(lostText(tokenizer, ['red heart', 'sks heart', 'sks red', 'red red heart red'], 'captions')).toEqual([
    '2 of 4 captions have words that the model does not know, which are left out: sks (2)',
    '1 of 4 captions are longer than the model\'s 4 tokens, and are cut there: "red red heart red"',
  ]);
  expect(lostText(tokenizer, ['red', ''], 'captions')).toEqual([]);
});

test('a length that no model has is refused', async () => {
  const folder = (length: unknown) =>
    inMemory(
      new Map(
        Object.entries({
          'tokenizer/tokenizer_config.json': { tokenizer_class: 'WordTokenizer', model_max_length: length },
          'tokenizer/vocab.json': {},
        }).map(([name, value]) => [name, new TextEncoder().encode(JSON.stringify(value))]),
      ),
    );
  for (const length of [1e9, 1e30, -1, 0.5, 'many'])
    await expect(loadTokenizer(folder(length))).rejects.toThrow(/UNSUPPORTED_OPTION.*model_max_length/);
});

test('special tokens are found in a text, `!` too where it pads; letters are lowered one by one, white space is Unicode’s', () => {
  const names = ['!', '!</w>', 'a</w>', '<', '|</w>', '<|startoftext|>', '<|endoftext|>'];
  const vocabulary = Object.fromEntries(names.map((name, i) => [name, i]));
  const ids = (text: string, padding: string) => [...clipTokenizer(vocabulary, [], 8, padding).encode(text)];
  expect(ids('A !', '!')).toEqual([5, 2, 0, 6, 0, 0, 0, 0]);
  expect(ids('A !', '<|endoftext|>')).toEqual([5, 2, 1, 6, 6, 6, 6, 6]);
  expect(ids('a<|endoftext|>a\u0085a', '!')).toEqual([5, 2, 6, 2, 2, 6, 0, 0]);
});

test.each(['<|endoftext|>', '!'])('texts of all kinds become what transformers makes of them, padded with %s', async (padding) => {
  const unpacked = async (path: string) =>
    gunzipSync(await readFile(fileURLToPath(new URL(`../../../../${path}`, import.meta.url)))).toString('utf8');
  const merges = (await unpacked('presets/clip/merges.txt.gz')).trimEnd().split('\n');
  const tokenizer = publishedTokenizer(merges, padding);
  expect(tokenizer.size).toBe(49408);
  const cases = JSON.parse(await unpacked('test/fixtures/tokenizer.json.gz'))[padding] as [string, number[]][];
  expect(cases).toHaveLength(1500);
  for (const [text, ids] of cases) {
    const mine = [...tokenizer.encode(text)];
    expect(mine.slice(0, ids.length), text).toEqual(ids);
    expect(new Set(mine.slice(ids.length)).size, text).toBeLessThan(2);
  }
});

test('a long text is cut, or given in pieces', () => {
  const tokenizer = wordTokenizer(['red', 'heart'], 4);
  expect([...tokenizer.encode('red heart heart')]).toEqual([0, 2, 3, 1]);
  expect(tokenizer.chunks('red heart heart').map((piece) => [...piece])).toEqual([
    [0, 2, 3, 1],
    [0, 3, 1, 1],
  ]);
  expect(tokenizer.chunks('').map((piece) => [...piece])).toEqual([[0, 1, 1, 1]]);
});
