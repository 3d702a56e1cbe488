import { expect, test } from 'vitest';
import { type Plugin, seededRandom, Trainer } from '../../core/index.js';
import { arrays } from '../../plugins/data/arrays.js';
import { accumulation } from '../../plugins/gradients/accumulation.js';
import { evaluation } from '../../plugins/observe/evaluation.js';
import { cosine } from '../../plugins/schedules/cosine.js';
import { linear } from '../../plugins/schedules/linear.js';
import { warmup } from '../../plugins/schedules/warmup.js';
import { scaledLearningRate } from '../../presets/common/plugins.js';
import { examples, smallRun, weightsRecorder } from '../support/small-run.js';

// What users of other trainers trip over. What belongs to one plugin is tested with it.

/** The learning rate of every step. */
async function ratesOf(window: number, options: object = {}): Promise<number[]> {
  const rates: number[] = [];
  const watch: Plugin = {
    name: 'watch',
    apply({ hooks }) {
      hooks.shouldLog.tap('watch', () => true);
      hooks.onRecord.tap('watch', (record) => {
        if (typeof record.learningRate === 'number') rates.push(record.learningRate);
      });
    },
  };
  await new Trainer(
    smallRun({ items: 12, batchSize: 2, steps: 8, ...options }).with(cosine(), warmup(), accumulation(window), watch),
  ).train();
  return rates;
}

test('the learning rate follows the step, however many microBatches make one', async () => {
  const expected = Array.from({ length: 8 }, (_, step) => 0.05 * 0.5 * (1 + Math.cos((Math.PI * step) / 8)));
  for (const window of [1, 3]) for (const [i, rate] of (await ratesOf(window)).entries()) expect(rate).toBeCloseTo(expected[i], 10);
});

test('warm-up is counted in steps, not in microBatches', async () => {
  for (const window of [1, 4]) {
    const rates = await ratesOf(window, { warmupSteps: 4 });
    expect(rates.slice(0, 5).map((rate) => rate / 0.05)).toEqual([0, 0.25, 0.5, 0.75, 1].map((share) => expect.closeTo(share, 10)));
  }
});

test('evaluation between the steps leaves accumulation as it is', async () => {
  const [with_, without] = [weightsRecorder(), weightsRecorder()];
  const job = () => smallRun({ items: 13, batchSize: 2, epochs: 3 }).with(accumulation(3), linear());
  await new Trainer(job().with(evaluation(arrays(examples(5), { batchSize: 2, shuffle: false }), { every: 1 }), with_.plugin)).train();
  await new Trainer(job().with(without.plugin)).train();
  expect(with_.steps).toEqual(without.steps);
});

test('the learning rate is scaled once, by accumulation x batch x processes', () => {
  const options = { learningRate: 1e-4, scaleLr: true, gradientAccumulationSteps: 3, trainBatchSize: 4 } as Parameters<
    typeof scaledLearningRate
  >[0];
  for (let again = 0; again < 2; again++) expect(scaledLearningRate(options, 2)).toBeCloseTo(1e-4 * 24, 12);
  expect(scaledLearningRate({ ...options, scaleLr: false }, 2)).toBe(1e-4);
});

test('every example of every epoch has noise of its own, the same in any batch and on any rank', () => {
  const random = seededRandom(3);
  const noise = (epoch: number, id: number) => random.item('noise', epoch, id).normals(new Float32Array(8)).join();
  const all = [0, 1, 2].flatMap((epoch) => [0, 1, 2, 3].map((id) => noise(epoch, id)));
  expect(new Set(all).size).toBe(12);
  expect(noise(1, 2)).toBe(all[6]);
});
