import type { Scalar } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { CLIP, fail, type Host, type State } from '../../core/index.js';
import { sumOfSquares } from '../devices/compute/reduce.js';

export interface NonFiniteGuardOptions {
  /** Skipped steps in a row that end the run with NON_FINITE. */
  readonly stopAfter?: number;
}

/**
 * Skips a step whose gradient holds infinities or NaN, or overflows when squared. The optimizer selects on the device; the
 * host learns of it a few steps late, counts, reports skippedSteps in the log, and stops the run after too many in a row.
 */
export const nonFiniteGuard = ({ stopAfter = 10 }: NonFiniteGuardOptions = {}) => {
  let skipped = 0;
  let inRow = 0;
  /** Answers under way, oldest first: reading one of each eight steps late keeps the device busy. */
  let pending: Promise<void>[] = [];
  let failed: number | null = null;
  const look = async (finite: Scalar, step: number) => {
    const ok = (await finite.data())[0] > 0;
    finite.dispose();
    inRow = ok ? 0 : inRow + 1;
    if (!ok) skipped++;
    if (inRow >= stopAfter) failed ??= step;
  };
  const settle = async () => {
    await Promise.all(pending);
    pending = [];
  };
  return {
    name: 'non-finite-guard',
    after: [CLIP],
    apply({ hooks, has, resolve }: Host) {
      hooks.validate.tap((problems) => {
        problems.options('non-finite-guard').whole('stopAfter', stopAfter, 1);
      });
      hooks.beforeStep.tap((update, step) => {
        if (failed !== null)
          fail(
            'NON_FINITE',
            'non-finite-guard',
            `${stopAfter} steps in a row had a gradient that is not finite, up to step ${failed + 1}`,
            'Lower the learning rate, or look for broken data.',
          );
        // x - x is 0 for every finite x, and NaN for the others.
        const finite = tf.tidy(() => {
          // Clipping, where there is some, has added up the squares already.
          const size = (has(CLIP) ? resolve(CLIP).norm() : null) ?? sumOfSquares(update.gradients);
          return size.sub(size).equal(0).toFloat().mul(update.finite);
        }) as Scalar;
        if (typeof update.finite !== 'number') update.finite.dispose();
        pending.push(look(finite.clone(), step));
        return { ...update, finite };
      });
      hooks.onLog.tapPromise(async (record) => ({ ...record, skippedSteps: skipped }));
      hooks.onEnd.tapPromise(settle);
    },
    async capture(): Promise<State> {
      await settle();
      return { skipped, inRow };
    },
    async restore(state: State) {
      skipped = state.skipped as number;
      inRow = state.inRow as number;
    },
    dispose: settle,
  };
};
