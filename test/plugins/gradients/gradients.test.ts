import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Plugin, SteploomError, Trainer } from '../../../core/index.js';
import type * as tf from '../../../core/tf.js';
import { clipping } from '../../../plugins/gradients/clipping.js';
import { nonFiniteGuard } from '../../../plugins/gradients/non-finite-guard.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { checkpoint } from '../../../plugins/persist/checkpoint.js';
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

  test('ends a run of which too much was skipped, while it goes on and at its end', async () => {
    const train = (steps: number, at: (step: number) => boolean) =>
      new Trainer(smallRun({ steps }).with(...more.map((make) => make()), nonFiniteGuard(), spoil(Number.NaN, at))).train();
    // Never ten in a row.
    await expect(train(200, (s) => s % 5 !== 0)).rejects.toThrow(/NON_FINITE.*40 of the last 50 steps, up to step 50/);
    await expect(train(9, (s) => s % 3 !== 0)).rejects.toThrow(/NON_FINITE.*6 of 9 steps had a gradient that is not finite/);
    await train(9, (s) => s % 3 === 0);
  });
});

test('weights that are ruined by a learning rate end the run with words, and make no checkpoint', async () => {
  const into = await mkdtemp(join(tmpdir(), 'steploom-'));
  const ruin = (): Plugin => ({
    name: 'ruin',
    apply: ({ hooks }) => hooks.onSchedule.tap((rate, { step }) => (step >= 3 ? 1e30 : rate)),
  });
  const train = (...plugins: Plugin[]) => new Trainer(smallRun({ steps: 5 }).with(sgd(), ruin(), nonFiniteGuard(), ...plugins)).train();
  await expect(train()).rejects.toThrow(/NON_FINITE.*the trained weights are not finite/);
  await expect(train(checkpoint({ into, every: 1, totalLimit: 2 }))).rejects.toThrow(
    /NON_FINITE \(checkpoint\): after step 4 the weights of w are not finite.*Go on from .*checkpoint-3 /,
  );
  expect((await readdir(into)).sort()).toEqual(['checkpoint-2', 'checkpoint-3']);
  await rm(into, { recursive: true });
});
