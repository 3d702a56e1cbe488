import type { Host, State } from '../../core/index.js';
import type { Scalar } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import { GUARD } from './guard/skipped-steps.js';

export interface LossScalingOptions {
  /** The first scale; 65,536 by default. */
  readonly initialScale?: number;
  /** What the scale is divided by after a step that overflowed, and multiplied with after many that did not; 2 by default. */
  readonly factor?: number;
  /** Steps in a row without an overflow after which the scale grows; 2,000 by default. */
  readonly growthInterval?: number;
}

/**
 * Dynamic loss scaling (Micikevicius et al. 2018, "Mixed precision training", section 3.2; the rule and its constants are those of torch.amp's
 * GradScaler): the backward pass starts from the loss times a scale, so that small gradients survive half precision, and the update takes it out again.
 * A step whose gradient overflows is skipped by the guard, which it needs, and lowers the scale. Scale and count live on the device and are never read to
 * go on; records have the scale as `lossScale`, and a fall of it between two records is a warning.
 */
export const lossScaling = ({ initialScale = 65_536, factor = 2, growthInterval = 2000 }: LossScalingOptions = {}) => {
  let start = { scale: initialScale, good: 0 };
  let scale: Scalar | null = null;
  /** Steps in a row without an overflow, since the scale last changed. */
  let good: Scalar | null = null;
  let told: number | null = null;
  const release = () => {
    scale?.dispose();
    good?.dispose();
    scale = null;
    good = null;
  };
  const begin = () => {
    release();
    scale = tf.keep(tf.scalar(start.scale));
    good = tf.keep(tf.scalar(start.good));
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
        const before = [now(), good as Scalar];
        [scale, good] = tf.tidy(() => {
          const count = tf.add(good as Scalar, 1).mul(finite);
          const grows = count.greaterEqual(growthInterval).toFloat();
          // finite and grows are 0 or 1, and powers of the factor are exact where it is 2.
          const change = tf
            .sub(1, finite)
            .div(factor)
            .add(tf.mul(finite, grows.mul(factor - 1).add(1)));
          return [now().mul(change), count.mul(tf.sub(1, grows))] as [Scalar, Scalar];
        });
        tf.dispose(before);
      });
      hooks.onLog.tap((record) => ({ ...record, lossScale: now().clone() }));
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
