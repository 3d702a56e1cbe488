import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../../../core/index.js';
import { loadTokenizer } from '../../../../plugins/models/clip/load-tokenizer.js';
import { lostCaptions, lostText } from '../../../../plugins/models/clip/lost-text.js';
import { publishedTokenizer } from '../../../../plugins/models/clip/published-tokenizer.js';
import { clipTokenizer } from '../../../../plugins/models/clip/tokenizer.js';
import { inMemory } from '../../../../plugins/persist/formats/files.js';
import { wordsOnly } from '../../../support/words-only.js';

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
  const tokenizer = wordsOnly(['red', 'heart'], 6);
  // A piece that it does not know is a token too: sks falls into three, of which transformers makes <|endoftext|> as well.
  expect(tokenizer.lost('a sks')).toEqual({ unknown: ['a', 'sks'], beyond: 0 });
  expect([...tokenizer.encode('a sks')]).toEqual([0, 1, 1, 1, 1, 1]);
  expect(tokenizer.lost('a photo of sks')).toEqual({ unknown: ['a', 'photo', 'of', 'sks'], beyond: 7 });
  expect(tokenizer.lost('red red heart red red red')).toEqual({ unknown: [], beyond: 2 });
  expect(lostText(tokenizer, ['red heart', 'sks heart', 'sks red', 'red red heart red red'], 'captions')).toEqual([
    '2 of 4 captions have words that the model does not know, which it takes for the end of a text: sks (2); of "sks heart", "sks red"',
    '1 of 4 captions are longer than the model\'s 6 tokens, and are cut there: "red red heart red red"',
  ]);
  expect(lostText(tokenizer, ['red', ''], 'captions')).toEqual([]);
  // Up to ten are named, of pictures by their files.
  const many = [...new Array(12).fill('red sks heart red red'), 'red'];
  const named = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `${from + i}.png`).join(', ');
  expect(lostCaptions(tokenizer, { strings: { text: many }, nameOf: (i) => `${i}.png` }, 'captions')).toEqual([
    `12 of 13 captions have words that the model does not know, which it takes for the end of a text: sks (12); of ${named(0, 10)}, and 2 more`,
    `12 of 13 captions are longer than the model's 6 tokens, and are cut there: ${named(0, 10)}, and 2 more`,
  ]);
  const letters = [...'bcefgijklmno'];
  expect(lostText(wordsOnly(['red', 'heart'], 14), [letters.join(' ')], 'prompts')).toEqual([
    `1 of 1 prompts have words that the model does not know, which it takes for the end of a text: ${letters
      .slice(0, 10)
      .map((word) => `${word} (1)`)
      .join(', ')}, and 2 more; of "${letters.join(' ')}"`,
  ]);
});

test('a length that no model has is refused', async () => {
  const folder = (length: unknown) =>
    inMemory(
      new Map(
        Object.entries({
          'tokenizer/tokenizer_config.json': { tokenizer_class: 'CLIPTokenizer', model_max_length: length },
          'tokenizer/vocab.json': {},
        }).map(([name, value]) => [name, new TextEncoder().encode(JSON.stringify(value))]),
      ),
    );
  for (const length of [1e9, 1e30, -1, 0.5, 'many'])
    await expect(loadTokenizer(folder(length))).rejects.toThrow(/UNSUPPORTED_OPTION.*model_max_length/);
});

describe('a CLIP tokenizer’s folder', () => {
  const letters = [...'cat', ...[...'cat'].map((letter) => `${letter}</w>`)];
  const words = [...letters, 'ca', 'cat</w>', '__proto__', 'constructor', '<|startoftext|>', '<|endoftext|>'];
  const good: Record<string, unknown> = {
    'tokenizer_config.json': { tokenizer_class: 'CLIPTokenizer', model_max_length: 8, pad_token: '<|endoftext|>' },
    'vocab.json': Object.fromEntries(words.map((word, id) => [word, id])),
    'merges.txt': '#version: 0.2\nc a\nca t</w>\n',
  };
  const together = {
    'tokenizer_config.json': good['tokenizer_config.json'],
    'tokenizer.json': { model: { vocab: good['vocab.json'], merges: ['c a', ['ca', 't</w>']] } },
  };
  const opened = (contents: Record<string, unknown>) => {
    const bytes = (value: unknown) =>
      value instanceof Uint8Array ? value : new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
    return loadTokenizer(inMemory(new Map(Object.entries(contents).map(([name, value]) => [`tokenizer/${name}`, bytes(value)]))));
  };

  test.each([
    ['vocab.json', good],
    ['tokenizer.json', together],
  ])('takes what an object’s prototype has for words like others, from %s', async (_, contents) => {
    const tokenizer = await opened(contents);
    const [begin, end] = [words.length - 2, words.length - 1];
    expect(tokenizer.size).toBe(words.length);
    expect([...tokenizer.encode('cat cat')]).toEqual([begin, 7, 7, end, end, end, end, end]);
    for (const word of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf'])
      for (const id of tokenizer.chunks(word).flatMap((piece) => [...piece])) expect(id, word).toBeLessThan(words.length);
    // A piece that is spelt as what every object has, and is in no vocabulary: the end's id.
    const word = 'constructor';
    const merges = [...word].slice(1).map((letter, i) => `${word.slice(0, i + 1)} ${letter}`);
    const spelt = clipTokenizer({ 'a</w>': 0, '<|startoftext|>': 1, '<|endoftext|>': 2 }, merges, 4, '<|endoftext|>');
    expect([...spelt.encode('constructora')]).toEqual([1, 2, 0, 2]);
    expect(() => clipTokenizer({ '<|startoftext|>': 1, '<|endoftext|>': 2 }, merges, 4, 'toString')).toThrow(
      /BAD_TOKENIZER.*the vocabulary has no toString, which is to be the padding/,
    );
  });

  test.each([
    ['an empty merges.txt', { 'merges.txt': '' }, /BAD_TOKENIZER.*tokenizer\/merges\.txt has no merges.*copy the tokenizer/s],
    ['merges.txt with its first line alone', { 'merges.txt': '#version: 0.2\n' }, /merges\.txt has no merges/],
    ['merges.txt that is no text', { 'merges.txt': Uint8Array.of(0xc3, 0x28) }, /BAD_TOKENIZER.*merges\.txt is no text.*copy/s],
    ['a merge of one piece', { 'merges.txt': 'c a\nca' }, /merges\.txt: "ca" is no pair/],
    ['a merge of three', { 'merges.txt': 'c a\nc a t' }, /merges\.txt: "c a t" is no pair/],
    ['a merge of nothing', { 'merges.txt': 'c a\nc ' }, /merges\.txt: "c " is no pair/],
    ['merges of another vocabulary', { 'merges.txt': 'c a\nd a' }, /merges\.txt: "d a" needs d, which the vocabulary does not have/],
    ['merges that make no word', { 'merges.txt': 'c a\na c' }, /merges\.txt: "a c" needs ac, which/],
    ['an unknown padding', { 'special_tokens_map.json': { pad_token: '<pad>' } }, /BAD_TOKENIZER.*vocab\.json has no <pad>.*pad_token/s],
    ['a padding that objects have', { 'special_tokens_map.json': { pad_token: 'toString' } }, /vocab\.json has no toString/],
    [
      'a vocabulary without begin',
      { 'vocab.json': { '<|endoftext|>': 1, c: 2, a: 3, ca: 4 }, 'merges.txt': 'c a' },
      /has no <\|startoftext/,
    ],
    ['ids that are none', { 'vocab.json': { a: -1 } }, /UNSUPPORTED_OPTION.*vocab\.json.*whole number/],
    ['a vocabulary that is a list', { 'vocab.json': [] }, /BAD_JSON.*vocab\.json/],
  ])('%s is an error that names file and fix', async (_, change, message) => {
    await expect(opened({ ...good, ...change })).rejects.toThrow(message);
  });

  test('a tokenizer.json without merges is one, too', async () => {
    const broken = { ...together, 'tokenizer.json': { model: { vocab: good['vocab.json'], merges: [] } } };
    await expect(opened(broken)).rejects.toThrow(/BAD_TOKENIZER.*tokenizer\/tokenizer\.json has no merges/);
  });
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
  const tokenizer = wordsOnly(['red', 'heart'], 4);
  expect([...tokenizer.encode('red heart heart')]).toEqual([0, 2, 3, 1]);
  expect(tokenizer.chunks('red heart heart').map((piece) => [...piece])).toEqual([
    [0, 2, 3, 1],
    [0, 3, 1, 1],
  ]);
  expect(tokenizer.chunks('').map((piece) => [...piece])).toEqual([[0, 1, 1, 1]]);
});
