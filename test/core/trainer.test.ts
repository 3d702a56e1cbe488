import { expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { arrays } from '../../plugins/data/arrays.js';
import { evaluation } from '../../plugins/observe/evaluation.js';
import { examples, memoryStore, smallRun, stopAfter } from '../support/small-run.js';

const held = () => evaluation(arrays(examples(5), { batchSize: 2, shuffle: false }), { every: 2 });

test('a result has every record, the best values with their steps, what was written and the time', async () => {
  const log: Plugin = {
    name: 'log',
    apply: ({ hooks, wrote }) => {
      hooks.shouldLog.tap(() => true);
      hooks.onEnd.tap(() => {
        for (const path of ['out/a', 'out/b', 'out/a']) wrote(path);
      });
    },
  };
  const { history, best, metrics, written, seconds } = await new Trainer(smallRun({ steps: 4 }).with(held(), log)).train();
  const steps = history.filter((record) => 'loss' in record);
  expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
  const evaluations = history.filter((record) => 'loss.held' in record);
  expect(evaluations.map(({ step }) => step)).toEqual([2, 4]);
  expect(metrics['loss.held']).toBe(evaluations[1]['loss.held']);
  const losses = steps.map(({ loss }) => Number(loss));
  const least = Math.min(...losses);
  expect(best.loss.least).toEqual({ step: losses.indexOf(least) + 1, value: least });
  expect(best.loss.most.value).toBe(Math.max(...losses));
  expect(best['loss.held'].least.value).toBe(Math.min(...evaluations.map((one) => Number(one['loss.held']))));
  expect(written).toEqual(['out/a', 'out/b']);
  expect(seconds).toBeGreaterThan(0);
});

test('evaluates before a run, and after one that is kept, without changing it', async () => {
  const before = tf.memory().numTensors;
  const trainer = new Trainer(smallRun({ steps: 4 }).with(held()));
  const first = await trainer.evaluate();
  const { metrics } = await trainer.train({ keep: true });
  expect(first['loss.held']).toBeGreaterThan(metrics['loss.held']);
  expect(await trainer.evaluate()).toEqual(metrics);
  await trainer.dispose();
  expect(tf.memory().numTensors).toBe(before);
  await expect(trainer.evaluate()).rejects.toThrow(/TRAINED_TWICE.*keep: true/);
  expect(await new Trainer(smallRun({ steps: 4 }).with(held())).train()).toMatchObject({ metrics });
});

test('evaluates what a run has saved, and says what is missing where nothing is held out', async () => {
  const store = memoryStore(2);
  const { metrics } = await new Trainer(smallRun({ steps: 4 }).with(held(), store.plugin, stopAfter(2))).train();
  const resumed = new Trainer(smallRun({ steps: 4 }).with(held(), memoryStore(99, store.snapshots[0]).plugin));
  expect(await resumed.evaluate()).toEqual(metrics);
  await resumed.dispose();
  const without = new Trainer(smallRun());
  await expect(without.evaluate()).rejects.toThrow(/ROLE_MISSING.*EVALUATION.*evaluation\(\)/);
  await expect(without.sample()).rejects.toThrow(/ROLE_MISSING.*PICTURES.*samples\(\)/);
  await without.dispose();
});
