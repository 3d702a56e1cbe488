import { expect, test } from 'vitest';
import { type BatchTrial, DEVICE, fail, OBJECTIVE, type Plugin, Trainer } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { nonFiniteGuard } from '../../../plugins/gradients/non-finite-guard.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { smallRun, squaredError } from '../../support/small-run.js';

test('a range test goes up from rate to rate, suggests where the loss falls, and ends where it rises', async () => {
  const before = tf.memory().numTensors;
  const trainer = new Trainer(smallRun().with(sgd()));
  const told: number[] = [];
  const found = await trainer.findLearningRate({ least: 1e-5, most: 100, steps: 60, onStep: (done) => told.push(done) });
  expect(found.diverged).toBe(true);
  expect(found.rates.length).toBeLessThan(60);
  expect(found.losses.length).toBe(found.rates.length);
  expect(told).toEqual(found.losses.map((_, i) => i + 1));
  expect(found.rates[0]).toBeCloseTo(1e-5, 10);
  for (const [i, rate] of found.rates.slice(1).entries()) expect(rate / found.rates[i]).toBeCloseTo(10 ** (7 / 59), 5);
  // A linear model with inputs of size 1 learns by about 0.1, and diverges above 2.
  expect(found.suggestion).toBeGreaterThan(1e-2);
  expect(found.suggestion).toBeLessThan(2);
  // The first loss is that of weights as they were built.
  const again = await trainer.findLearningRate({ least: 1e-5, most: 100, steps: 60 });
  expect(again).toEqual(found);
  await trainer.dispose();
  expect(tf.memory().numTensors).toBe(before);
});

test('a range test makes its steps where the loss stays, and one that is no number ends it', async () => {
  const flat = new Trainer(smallRun({ learningRate: 0.05 }).with(sgd()));
  // So small that nothing changes in float32.
  const found = await flat.findLearningRate({ least: 1e-30, most: 1e-29, steps: 3 });
  expect(found).toMatchObject({ diverged: false });
  expect(found.rates.length).toBe(3);
  await flat.dispose();
  const broken: Plugin = {
    name: 'broken',
    apply: ({ hooks }) => hooks.onLoss.tap((loss, { step }) => (step === 2 ? (loss.div(0).mul(1e30) as tf.Scalar) : loss)),
  };
  const ruined = new Trainer(smallRun().with(nonFiniteGuard({ stopAfter: 1 }), broken));
  expect(await ruined.findLearningRate({ steps: 9, most: 1e-3 })).toMatchObject({ diverged: true, rates: { length: 2 } });
  // The guard has forgotten what it saw.
  expect(await ruined.findLearningRate({ steps: 2, most: 1e-3 })).toMatchObject({ diverged: false });
  await ruined.dispose();
});

test('groups keep their proportion to the run’s rate', async () => {
  const trainer = new Trainer(smallRun({ learningRate: 0.1, groups: { main: { learningRate: 0.2 } } }).with(sgd()));
  const other = new Trainer(smallRun({ learningRate: 0.1 }).with(sgd()));
  const { losses } = await trainer.findLearningRate({ least: 1e-3, most: 1e-2, steps: 4 });
  expect(losses).toEqual((await other.findLearningRate({ least: 2e-3, most: 2e-2, steps: 4 })).losses);
  await trainer.dispose();
  await other.dispose();
});

/** A device whose memory ends at so many examples. */
const fullAt = (most: number, thrown: () => unknown): Plugin => ({
  ...squaredError(),
  name: 'full',
  fills: OBJECTIVE,
  loss(context, model, batch) {
    if (batch.items > most) throw thrown();
    return (squaredError() as Extract<Plugin, { fills: typeof OBJECTIVE }>).loss(context, model, batch);
  },
});

test('the largest batch is found by doubling and halving, whoever says that memory is out', async () => {
  const words = () => {
    try {
      return fail('OUT_OF_MEMORY', 'device', 'no memory', 'Use less.');
    } catch (error) {
      return error;
    }
  };
  for (const thrown of [words, () => new RangeError('Array buffer allocation failed')]) {
    const before = tf.memory().numTensors;
    const trainer = new Trainer(smallRun({ items: 40, batchSize: 2 }).with(fullAt(13, thrown)));
    const told: BatchTrial[] = [];
    const { batchSize, tried } = await trainer.findBatchSize({ onTry: (trial) => told.push(trial) });
    expect(batchSize).toBe(13);
    expect(tried.map((one) => one.batchSize)).toEqual([1, 2, 4, 8, 16, 12, 14, 13]);
    expect(tried.map(({ fits }) => fits)).toEqual([true, true, true, true, false, true, false, true]);
    expect(told).toEqual(tried);
    for (const { fits, seconds } of tried) expect(seconds === undefined).toBe(!fits);
    await trainer.dispose();
    expect(tf.memory().numTensors).toBe(before);
  }
});

test('no more is tried than there are examples or than was asked for, and other errors are errors', async () => {
  const trainer = new Trainer(smallRun({ items: 12 }));
  expect(await trainer.findBatchSize()).toMatchObject({ batchSize: 12, tried: { length: 5 } });
  expect(await trainer.findBatchSize({ most: 3 })).toMatchObject({ batchSize: 3, tried: { length: 3 } });
  await expect(trainer.findBatchSize({ most: 0 })).rejects.toThrow(/OPTION_INVALID.*most is 0/);
  await expect(trainer.findLearningRate({ least: 1, most: 0.1 })).rejects.toThrow(/OPTION_INVALID.*larger most/);
  await trainer.train();
  await expect(trainer.findBatchSize()).rejects.toThrow(/TRAINED_TWICE/);
  await expect(trainer.findLearningRate()).rejects.toThrow(/TRAINED_TWICE/);
  const none = new Trainer(smallRun().with(fullAt(0, () => new RangeError('no'))));
  expect(await none.findBatchSize()).toMatchObject({ batchSize: null });
  await none.dispose();
  const broken = new Trainer(smallRun().with(fullAt(2, () => new Error('another thing'))));
  await expect(broken.findBatchSize()).rejects.toThrow('another thing');
  await broken.dispose();
});

test('what the device’s limits do not allow is not tried, and its memory is given back each time', async () => {
  let [given, largest] = [0, 0];
  const small: Plugin = {
    name: 'small-device',
    fills: DEVICE,
    async setUp() {
      await tf.setBackend('cpu');
      return { name: 'small', detail: '', limits: { bytes: 600_000 } };
    },
    release: () => void given++,
  };
  const squares: Plugin = {
    name: 'squares',
    fills: OBJECTIVE,
    loss(context, model, batch) {
      largest = Math.max(largest, batch.items);
      return tf.squaredDifference(model.forward(context, { x: batch.tensors.x }), batch.tensors.y).mean() as tf.Scalar;
    },
    // As though an example were a square of 64 x 64.
    trial: () => ({
      side: 64,
      least: 8,
      named: String,
      atMost: { kept: 1e9, largest: 1e9 },
      loss: (context, model, items, side) =>
        model
          .forward(context, { x: tf.ones([items * side * side, 2]) })
          .square()
          .mean() as tf.Scalar,
    }),
  };
  const trainer = new Trainer(smallRun({ items: 8, batchSize: 1, device: small }).with(squares));
  const { batchSize, tried } = await trainer.findBatchSize();
  expect(batchSize).toBeGreaterThan(1);
  expect(batchSize).toBeLessThan(8);
  expect(largest).toBe(batchSize);
  expect(given).toBe(tried.filter(({ fits }) => fits).length);
  await trainer.dispose();
});
