import { expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { limitItems } from '../../../plugins/data/limit-items.js';
import { cpu } from '../../../plugins/devices/cpu.js';
import { distributed } from '../../../plugins/distributed/distributed.js';
import { supervised } from '../../../presets/supervised.js';
import { examples, linearModel, smallRun } from '../../support/small-run.js';

const seen = () => {
  const ids: number[][] = [];
  const plugin: Plugin = {
    name: 'seen',
    apply: ({ hooks }) =>
      hooks.onBatch.tap((batch) => {
        (ids[batch.epoch] ??= []).push(...batch.ids);
        return batch;
      }),
  };
  return { ids, plugin };
};

test('the same few examples come in every epoch, in an order of its own', async () => {
  const { ids, plugin } = seen();
  const trainer = new Trainer(smallRun({ items: 40, batchSize: 2, epochs: 4 }).with(distributed(), limitItems(6), plugin));
  expect((await trainer.explain()).plan).toMatchObject({ items: 6, stepsPerEpoch: 3, steps: 12 });
  await trainer.train();
  const sets = ids.map((epoch) => [...epoch].sort((a, b) => a - b).join());
  expect(new Set(sets).size).toBe(1);
  expect(new Set(ids[0]).size).toBe(6);
  expect(new Set(ids.map(String)).size).toBeGreaterThan(1);
});

test('a limit above what there is changes nothing, and one below 1 is refused', async () => {
  const one = seen();
  const other = seen();
  await new Trainer(smallRun({ items: 5, epochs: 2 }).with(limitItems(9), one.plugin)).train();
  await new Trainer(smallRun({ items: 5, epochs: 2 }).with(other.plugin)).train();
  expect(one.ids).toEqual(other.ids);
  await expect(new Trainer(smallRun().with(limitItems(0))).train()).rejects.toThrow(/OPTION_INVALID.*limitItems is 0/);
});

test('supervised runs are limited, or made fast: one step, one batch that is evaluated', async () => {
  const { ids, plugin } = seen();
  const given = () =>
    ({
      model: linearModel() as never,
      device: cpu(),
      data: examples(20),
      batchSize: 4,
      loss: 'mse',
      quiet: true,
    }) as const;
  const { step } = await new Trainer(supervised({ ...given(), epochs: 1, limitItems: 8 }).with(plugin)).train();
  expect([step, ids[0].length]).toEqual([2, 8]);
  const { history } = await new Trainer(
    supervised({ ...given(), epochs: 9, warmupSteps: 5, validation: examples(12), evaluateEvery: 7, fastDevRun: true }),
  ).train();
  expect(history).toEqual([{ step: 1, epoch: 0, 'loss.held': expect.any(Number) }]);
});

test('of data that makes its own batches the same ones come in every epoch, and none is lost', async () => {
  const { ids, plugin } = seen();
  // Three of a kind at most, and another kind first in every other epoch.
  const kinds: Plugin = {
    name: 'kinds',
    apply: ({ hooks }) =>
      hooks.prepareData.tap((source) => ({
        ...source,
        batches: (epoch) =>
          [
            [0, 1, 2],
            [3, 4, 5],
            [6, 7],
          ].map((batch) => batch.map((id) => (id + epoch) % 8)),
      })),
  };
  const trainer = new Trainer(smallRun({ items: 8, batchSize: 3, epochs: 3 }).with(kinds, limitItems(4), plugin));
  expect((await trainer.explain()).plan).toMatchObject({ items: 4, stepsPerEpoch: 2, steps: 6 });
  await trainer.train();
  expect(ids).toEqual([
    [0, 1, 2, 3],
    [0, 1, 2, 3],
    [0, 1, 2, 3],
  ]);
});
