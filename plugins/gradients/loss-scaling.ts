import type { Host, State } from '../../core/index.js';
import type { Rank, Scalar, Variable } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import type { Program } from '../devices/compute/program.js';
import { applyUpdate } from '../devices/compute/update.js';
import { GUARD } from './guard/skipped-steps.js';

export interface LossScalingOptions {
  /** The first scale; 65,536 by default. */
  readonly initialScale?: number;
  /** What the scale is divided by after a step that overflowed, and multiplied with after many that did not; 2 by default. */
  readonly factor?: number;
  /** Steps in a row without an overflow after which the scale grows; 2,000 by default. */
  readonly growthInterval?: number;
}

/** The rule for one step that was `finite` or not, 1 or 0. Powers of the factor are exact where it is 2. */
const rule = (factor: number, growthInterval: number): Program => ({
  name: `loss scale ${factor} ${growthInterval}`,
  arrays: ['scale', 'good'],
  writes: ['scale', 'good'],
  factors: ['finite'],
  body(a, { scale, good, finite }) {
    const count = a.mul(a.add(good, 1), finite);
    // 1 once there are enough of them, else 0: they are whole numbers.
    const grows = a.max(a.sign(a.sub(count, growthInterval - 0.5)), 0);
    const change = a.add(a.div(a.sub(1, finite), factor), a.mul(finite, a.add(a.mul(grows, factor - 1), 1)));
    return { scale: a.mul(scale, change), good: a.mul(count, a.sub(1, grows)) };
  },
});

/**
 * Dynamic loss scaling (Micikevicius et al. 2018, "Mixed precision training", section 3.2; the rule and its constants are those of torch.amp's
 * GradScaler): the backward pass starts from the loss times a scale, so that small gradients survive half precision, and the update takes it out again.
 * A step whose gradient overflows is skipped by the guard, which it needs, and lowers the scale. Scale and count live on the device and are never read to
 * go on; records have the scale as `lossScale`, and a fall of it between two records is a warning.
 */
export const lossScaling = ({ initialScale = 65_536, factor = 2, growthInterval = 2000 }: LossScalingOptions = {}) => {
  let start = { scale: initialScale, good: 0 };
  const program = rule(factor, growthInterval);
  let scale: Variable<Rank.R0> | null = null;
  /** Steps in a row without an overflow, since the scale last changed. */
  let good: Variable<Rank.R0> | null = null;
  let told: number | null = null;
  const release = () => {
    scale?.dispose();
    good?.dispose();
    scale = null;
    good = null;
  };
  const begin = () => {
    release();
    [scale, good] = tf.tidy(() => [tf.variable(tf.scalar(start.scale), false), tf.variable(tf.scalar(start.good), false)]);
    told = start.scale;
  };
  /** There from the start on, or from the first step that is tried before. */
  const now = (): Scalar => {
    if (!scale) begin();
    return scale as unknown as Scalar;
  };
  return {
    name: 'loss-scaling',
    requires: [GUARD],
    apply({ hooks, warn }: Host) {
      hooks.validate.tap((problems) => {
        const check = problems.options('loss-scaling');
        check.positive('initialScale', initialScale);
        if (!(factor > 1 && Number.isFinite(factor))) check.invalid(`factor is ${factor}`, 'Give a number above 1.');
        check.whole('growthInterval', growthInterval, 1);
      });
      hooks.onStart.tap(begin);
      hooks.scaleLoss.tap((seed) => {
        const scaled = tf.mul(seed, now()) as Scalar;
        if (typeof seed !== 'number') seed.dispose();
        return scaled;
      });
      hooks.onUnscale.tap((update) => {
        const unscaled = tf.div(update.scale, now()) as Scalar;
        if (typeof update.scale !== 'number') update.scale.dispose();
        return { ...update, scale: unscaled };
      });
      hooks.afterStep.tap((_, finite) => {
        applyUpdate(program, [{ scale: now(), good: good as Scalar }], { finite }, 1);
      });
      // A copy: the next step writes to the variable, maybe before the record is read.
      hooks.onLog.tap((record) => ({ ...record, lossScale: now().mul(1) as Scalar }));
      hooks.onRecord.tap(({ lossScale }) => {
        if (typeof lossScale !== 'number') return;
        if (told !== null && lossScale < told)
          warn(`a gradient overflowed: its step was skipped, and the loss scale went from ${told} to ${lossScale}`);
        told = lossScale;
      });
    },
    settings: () => ({ factor, growthInterval }),
    async capture(): Promise<State> {
      const [[scaleNow], [goodNow]] = await Promise.all([now().data(), (good as Scalar).data()]);
      return { scale: scaleNow, good: goodNow };
    },
    async restore(state: State) {
      release();
      start = { scale: state.scale as number, good: state.good as number };
    },
    dispose: release,
  };
};
