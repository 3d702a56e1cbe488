import { expect, test } from 'vitest';
import { wordsOf } from '../../../../plugins/data/inspection/words.js';
import { publishedTokenizer } from '../../../../plugins/models/clip/published-tokenizer.js';
import { clipMerges } from '../../../../presets/common/model-source.js';
import { wordsOnly } from '../../../support/words-only.js';

test('captions that are too long, words that the model does not know, and words that only one caption has', () => {
  const found = wordsOf(
    ['red heart', 'a red, RED moon', 'a heart a heart a heart a heart a heart a heart', 'a sks heart'],
    [wordsOnly(['red', 'heart', 'a'], 12)],
  );
  expect(found).toEqual({
    limit: 10,
    long: [{ caption: 2, tokens: 12 }],
    unknown: [
      { word: 'moon', captions: 1, tokens: 4 },
      { word: 'sks', captions: 1, tokens: 3 },
    ],
    pieces: [{ word: 'moon', captions: 1, tokens: 4 }],
    once: ['moon', 'sks'],
  });
});

test('CLIP’s tokenizer knows all words, and rare ones fall into pieces; of two tokenizers the shorter limit counts', async () => {
  const tokenizer = publishedTokenizer(await clipMerges(), '<|endoftext|>');
  const { limit, long, unknown, pieces, once } = wordsOf(
    ['a photo of zwxqvkj', `a ${'very '.repeat(80)}long caption`, 'a photo'],
    [tokenizer, { ...tokenizer, length: 60 }],
  );
  expect([limit, long, unknown]).toEqual([58, [{ caption: 1, tokens: 83 }], []]);
  expect(pieces).toEqual([{ word: 'zwxqvkj', captions: 1, tokens: tokenizer.count('zwxqvkj') }]);
  expect(pieces[0].tokens).toBeGreaterThan(3);
  expect(once).toEqual(['of', 'zwxqvkj', 'very', 'long', 'caption']);
});

test('words are letters and digits that stand together, in small letters', () => {
  expect(wordsOf(["Ångström's 2 cats"], [wordsOnly(['red'], 12)]).once).toEqual(['ångström', 's', '2', 'cats']);
});
