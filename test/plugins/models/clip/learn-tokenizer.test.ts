import { expect, test } from 'vitest';
import { learnTokenizer } from '../../../../plugins/models/clip/learn-tokenizer.js';
import { loadTokenizer } from '../../../../plugins/models/clip/load-tokenizer.js';
import { inMemory } from '../../../../plugins/persist/formats/files.js';

const CAPTIONS = ['red heart', 'green heart', 'a cat’s face', 'piñata', 'red apple'];
const LENGTH = 12;

test('what is learnt from captions has a token for each of their words, and pieces for every other', async () => {
  const learnt = learnTokenizer(CAPTIONS, LENGTH);
  const files = inMemory();
  await learnt.save(files, 'tokenizer');
  const vocabulary = JSON.parse(new TextDecoder().decode((await files.read('tokenizer/vocab.json')) as Uint8Array)) as Record<
    string,
    number
  >;
  const words = Object.fromEntries(Object.entries(vocabulary).map(([word, id]) => [id, word]));
  const [begin, end] = [learnt.size - 2, learnt.size - 1];
  const piecesOf = (text: string) =>
    Array.from(learnt.encode(text), (id) => words[id]).filter((_, i, all) => i > 0 && all[i] !== '<|endoftext|>');

  for (const word of ['red', 'green', 'heart', 'apple', 'cat', 'face']) expect(piecesOf(word)).toEqual([`${word}</w>`]);
  expect(piecesOf('piñata')).toHaveLength(1);
  // Its places: begin, two words, end, and padding, which is end.
  expect(Array.from(learnt.encode('Red  HEART'))).toEqual([
    begin,
    vocabulary['red</w>'],
    vocabulary['heart</w>'],
    ...Array(LENGTH - 3).fill(end),
  ]);
  const unknown = piecesOf('heatred');
  expect(unknown.length).toBeGreaterThan(1);
  expect(unknown.join('')).toBe('heatred</w>');
  expect(learnt.lost('zebra 中').unknown).toEqual([]);

  const read = await loadTokenizer(files);
  for (const text of [...CAPTIONS, 'heatred', 'zebra 中', '']) expect(read.encode(text)).toEqual(learnt.encode(text));
  expect([read.size, read.length]).toEqual([learnt.size, LENGTH]);
  // The same texts in another order give the same.
  const again = inMemory();
  await learnTokenizer([...CAPTIONS].reverse(), LENGTH).save(again, 'tokenizer');
  expect(await again.read('tokenizer/merges.txt')).toEqual(await files.read('tokenizer/merges.txt'));
});
