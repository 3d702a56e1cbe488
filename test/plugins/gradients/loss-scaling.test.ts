import { expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import type * as tf from '../../../core/tf.js';
import { clipping } from '../../../plugins/gradients/clipping.js';
import { lossScaling } from '../../../plugins/gradients/loss-scaling.js';
import { nonFiniteGuard } from '../../../plugins/gradients/non-finite-guard.js';
import { smallRun, weightsRecorder } from '../../support/small-run.js';

/** The scales of a run's records, after each step, with its warnings. */
async function scales(steps: number, options: Parameters<typeof lossScaling>[0], ...more: Plugin[]) {
  const seen: unknown[] = [];
  const warnings: string[] = [];
  const watch: Plugin = {
    name: 'watch',
    apply({ hooks }) {
      hooks.shouldLog.tap(() => true);
      hooks.onRecord.tap(({ lossScale }) => void seen.push(lossScale));
    },
  };
  const weights = weightsRecorder();
  const run = smallRun({ steps }).with(nonFiniteGuard(), lossScaling(options), watch, weights.plugin, ...more);
  await new Trainer(run, { warn: (what) => warnings.push(what) }).train();
  return { seen, warnings, steps: weights.steps };
}

const infinite = (at: readonly number[]): Plugin => ({
  name: 'infinite',
  apply: ({ hooks }) =>
    hooks.onLoss.tap((loss, { step }) => (at.includes(step) ? (loss.mul(Number.POSITIVE_INFINITY) as tf.Scalar) : loss)),
});

test('a scale that is a power of two changes no bit of what is learnt, with clipping and without', async () => {
  for (const more of [() => [], () => [clipping(0.3)]]) {
    const plain = weightsRecorder();
    await new Trainer(smallRun({ steps: 4 }).with(nonFiniteGuard(), plain.plugin, ...more())).train();
    expect((await scales(4, {}, ...more())).steps).toEqual(plain.steps);
  }
});

test('it grows after steps without an overflow, and falls with one, whose step is skipped, in words', async () => {
  const { seen, warnings, steps } = await scales(8, { initialScale: 64, growthInterval: 3 }, infinite([4]));
  expect(seen).toEqual([64, 64, 128, 128, 64, 64, 64, 128]);
  expect(steps[4]).toEqual(steps[3]);
  expect(steps[5]).not.toEqual(steps[4]);
  expect(warnings).toEqual(['loss-scaling: a gradient overflowed: its step was skipped, and the loss scale went from 128 to 64']);
});

test('a scale that is too large for the gradients falls until they fit', async () => {
  const { seen, steps } = await scales(12, { initialScale: 2 ** 80, factor: 16 });
  const fits = seen.findIndex((scale, i) => i > 0 && scale === seen[i - 1]);
  expect(fits).toBeGreaterThan(0);
  expect(seen[fits]).toBe(2 ** 80 / 16 ** fits);
  expect(steps.slice(0, fits).every((one) => JSON.stringify(one) === JSON.stringify(steps[0]))).toBe(true);
  expect(steps[fits]).not.toEqual(steps[0]);
});

test('options that make no sense, and a run without a guard, are refused', async () => {
  await expect(scales(1, { initialScale: 0 })).rejects.toThrow(/OPTION_INVALID.*initialScale is 0/);
  await expect(scales(1, { factor: 1 })).rejects.toThrow(/OPTION_INVALID.*factor is 1/);
  await expect(scales(1, { growthInterval: 1.5 })).rejects.toThrow(/OPTION_INVALID.*growthInterval is 1.5/);
  await expect(new Trainer(smallRun().with(lossScaling())).train()).rejects.toThrow(/loss-scaling.*non-finite-guard/);
});
