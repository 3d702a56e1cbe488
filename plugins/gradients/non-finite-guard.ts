import { CLIP, fail, type Host, type State } from '../../core/index.js';
import type { Scalar } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import { sumOfSquares } from '../devices/compute/reduce.js';
import { GUARD } from './guard/skipped-steps.js';

export interface NonFiniteGuardOptions {
  /** Skipped steps in a row that end the run with NON_FINITE. */
  readonly stopAfter?: number;
  /** The share of skipped steps, among the last 50 or of the whole run when it ends, above which it ends with NON_FINITE; 0.5 by default. */
  readonly stopAtShare?: number;
}

/** Steps among which the share is watched. */
const RECENT = 50;

/**
 * Skips a step whose gradient holds infinities or NaN, or overflows when squared. The optimizer selects on the device; the
 * host learns of it a few steps late, counts, reports skippedSteps in the log, and stops the run after too many in a row or too large a share:
 * such a run learns nothing, however its losses look. Weights that are not finite when the run ends are an error, too.
 */
export const nonFiniteGuard = ({ stopAfter = 10, stopAtShare = 0.5 }: NonFiniteGuardOptions = {}) => {
  let skipped = 0;
  let inRow = 0;
  /** Answers under way, oldest first: reading one of each eight steps late keeps the device busy. */
  let pending: Promise<void>[] = [];
  /** Whether each of the last steps was skipped, 1 or 0, oldest first. */
  let recent: number[] = [];
  let steps = 0;
  let failure: string | null = null;
  const look = async (finite: Scalar, step: number) => {
    const ok = (await finite.data())[0] > 0;
    finite.dispose();
    inRow = ok ? 0 : inRow + 1;
    steps++;
    if (!ok) skipped++;
    recent = [...recent, ok ? 0 : 1].slice(-RECENT);
    if (inRow >= stopAfter) failure ??= `${stopAfter} steps in a row had a gradient that is not finite, up to step ${step + 1}`;
    const lately = recent.reduce((sum, one) => sum + one, 0);
    if (recent.length === RECENT && lately > stopAtShare * RECENT)
      failure ??= `${lately} of the last ${RECENT} steps, up to step ${step + 1}, had a gradient that is not finite and were skipped`;
  };
  const settle = async () => {
    await Promise.all(pending);
    pending = [];
  };
  const end = (what: string): never => fail('NON_FINITE', 'non-finite-guard', what, 'Lower the learning rate, or look for broken data.');
  return {
    name: GUARD,
    after: [CLIP],
    apply({ hooks, has, model, resolve }: Host) {
      hooks.validate.tap((problems) => {
        const check = problems.options('non-finite-guard');
        check.whole('stopAfter', stopAfter, 1);
        if (!(stopAtShare > 0 && stopAtShare <= 1)) check.invalid(`stopAtShare is ${stopAtShare}`, 'Give a share above 0, up to 1.');
      });
      hooks.beforeStep.tap((update, step) => {
        if (failure !== null) end(failure);
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
      hooks.onEnd.tapPromise(async () => {
        await settle();
        if (failure !== null) end(failure);
        if (skipped > stopAtShare * steps) end(`${skipped} of ${steps} steps had a gradient that is not finite and were skipped`);
        const weights = model().parameters;
        const trained = Object.fromEntries([...weights].flatMap(([path, p]) => (p.trainable ? [[path, p.variable]] : [])));
        const size = sumOfSquares(trained);
        const ok = Number.isFinite((await size.data())[0]);
        size.dispose();
        if (!ok) end('the trained weights are not finite, or so large that their squares are not');
      });
    },
    async capture(): Promise<State> {
      await settle();
      return { skipped, inRow, steps, recent };
    },
    async restore(state: State) {
      // What was found since is of steps that are taken back.
      await settle();
      failure = null;
      skipped = state.skipped as number;
      inRow = state.inRow as number;
      // Snapshots before these were kept lack them.
      steps = (state.steps as number | undefined) ?? 0;
      recent = [...((state.recent as number[] | undefined) ?? [])];
    },
    dispose: settle,
  };
};
