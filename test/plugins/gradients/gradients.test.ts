import type * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { type Plugin, SteploomError, Trainer } from '../../../core/index.js';
import { clipping } from '../../../plugins/gradients/clipping.js';
import { nonFiniteGuard } from '../../../plugins/gradients/non-finite-guard.js';
import { smallRun, weightsRecorder } from '../../support/small-run.js';

/** Every record of a run, and the update as the optimizer gets it. */
function watch() {
  const records: Record<string, number | string>[] = [];
  const updates: { norm: number; scale: number; finite: number }[] = [];
  const plugin: Plugin = {
    name: 'watch',
    after: ['clipping', 'non-finite-guard'],
    apply({ hooks }) {
      const number = (x: number | tf.Scalar) => (typeof x === 'number' ? x : x.dataSync()[0]);
      hooks.beforeStep.tap('watch', (update) => {
        const norm = Math.sqrt(Object.values(update.gradients).reduce((sum, g) => sum + (g.square().sum().dataSync()[0] as number), 0));
        updates.push({ norm, scale: number(update.scale), finite: number(update.finite) });
        return update;
      });
      hooks.shouldLog.tap('watch', () => true);
      hooks.onRecord.tap('watch', (record) => {
        records.push({ ...record });
      });
    },
  };
  return { plugin, records, updates };
}

/** Multiplies the loss at some steps. */
const spoil = (factor: number, at: (step: number) => boolean): Plugin => ({
  name: 'spoil',
  apply: ({ hooks }) => hooks.onLoss.tap('spoil', (loss, { step }) => (at(step) ? (loss.mul(factor) as tf.Scalar) : loss)),
});

describe('clipping', () => {
  test('bounds the norm of the mean gradient, and logs the norm before', async () => {
    const [free, clipped] = [watch(), watch()];
    await new Trainer(smallRun({ learningRate: 0 }).with(free.plugin)).train();
    await new Trainer(smallRun({ learningRate: 0 }).with(clipping(0.3), clipped.plugin)).train();
    for (const [i, { norm, scale }] of free.updates.entries()) {
      const before = norm * scale;
      expect(clipped.records[i].gradientNorm).toBeCloseTo(before, 5);
      expect(clipped.updates[i].norm * clipped.updates[i].scale).toBeCloseTo(Math.min(before, 0.3), 4);
    }
    expect(free.updates.some(({ norm, scale }) => norm * scale > 0.3)).toBe(true);
  });

  test('a bad bound is refused, and so are no gradients', async () => {
    await expect(new Trainer(smallRun().with(clipping(0))).train()).rejects.toThrow(/OPTION_INVALID.*maxNorm is 0/);
    const none: Plugin = { name: 'none', apply: ({ hooks }) => hooks.onUnscale.tap('none', (update) => ({ ...update, gradients: {} })) };
    await expect(new Trainer(smallRun().with(none, clipping(1))).train()).rejects.toThrow('NO_GRADIENTS');
  });
});

describe.each([
  ['with clipping', [clipping]],
  ['by itself', []],
] as [string, (() => Plugin)[]][])('the non-finite guard %s', (_, more) => {
  test('skips a step, counts it, and goes on', async () => {
    const [seen, weights] = [watch(), weightsRecorder()];
    await new Trainer(
      smallRun().with(
        ...more.map((make) => make()),
        nonFiniteGuard(),
        spoil(Number.POSITIVE_INFINITY, (s) => s === 2),
        seen.plugin,
        weights.plugin,
      ),
    ).train();
    expect(seen.updates.map((u) => u.finite)).toEqual([1, 1, 0, 1, 1, 1]);
    expect(weights.steps[2]).toEqual(weights.steps[1]);
    expect(weights.steps[3]).not.toEqual(weights.steps[2]);
    expect(weights.steps.flatMap((s) => [...s.w, ...s.b]).every(Number.isFinite)).toBe(true);
    expect(seen.records.at(-1)?.skippedSteps).toBe(1);
  });

  test('ends the run after too many in a row', async () => {
    const error = await new Trainer(
      smallRun({ steps: 100 }).with(
        ...more.map((make) => make()),
        nonFiniteGuard({ stopAfter: 3 }),
        spoil(Number.NaN, (s) => s >= 5),
      ),
    )
      .train()
      .catch((e) => e);
    expect(error).toBeInstanceOf(SteploomError);
    expect(error.message).toMatch(/NON_FINITE.*3 steps in a row.*step 8/);
  });
});
