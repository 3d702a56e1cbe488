import { expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../../core/index.js';
import { smallRun } from '../../../support/small-run.js';

test('the order of an epoch follows from the seed, and is the same on every machine', async () => {
  const seen = async (seed: number) => {
    const ids: number[][] = [];
    const spy: Plugin = {
      name: 'spy',
      apply: ({ hooks }) =>
        hooks.onBatch.tap('spy', (batch) => {
          ids.push([...batch.ids]);
          return batch;
        }),
    };
    await new Trainer(smallRun({ items: 7, batchSize: 3, epochs: 2, seed }).with(spy)).train();
    return ids;
  };
  const first = await seen(1);
  expect(first).toEqual(await seen(1));
  expect(first).not.toEqual(await seen(2));
  for (const epoch of [first.slice(0, 3), first.slice(3)]) expect(epoch.flat().sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  // Written down, so that another machine or version that shuffles otherwise is noticed.
  expect(first).toMatchInlineSnapshot(`
    [
      [
        4,
        6,
        0,
      ],
      [
        3,
        2,
        1,
      ],
      [
        5,
      ],
      [
        4,
        0,
        1,
      ],
      [
        5,
        3,
        6,
      ],
      [
        2,
      ],
    ]
  `);
});
