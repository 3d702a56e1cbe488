import { CLIP, fail, type Host } from '../../core/index.js';
import type { Scalar } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import { globalNorm } from '../devices/compute/reduce.js';

/**
 * Clips the global L2 norm of the finished gradient, once a step (torch.nn.utils.clip_grad_norm_): the gradient is scaled
 * by min(1, maxNorm / (norm + 1e-6)). The norm before clipping is logged as gradientNorm. Nothing is read back.
 */
export const clipping = (maxNorm = 1) => {
  let norm: Scalar | null = null;
  const forget = () => {
    norm?.dispose();
    norm = null;
  };
  return {
    name: 'clipping',
    fills: CLIP,
    maxNorm,
    norm: () => norm,
    apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        if (!(maxNorm > 0))
          problems.options('clipping').invalid(`maxNorm is ${maxNorm}`, 'Give a number above 0, or train without clipping.');
      });
      hooks.beforeStep.tap((update) => {
        if (Object.keys(update.gradients).length === 0)
          fail('NO_GRADIENTS', 'clipping', 'there are no gradients to clip', 'Train at least one parameter.');
        forget();
        const size = globalNorm(update.gradients, update.scale);
        norm = size;
        const scale = tf.tidy(() => tf.minimum(1, tf.div(maxNorm, size.add(1e-6))).mul(update.scale)) as Scalar;
        if (typeof update.scale !== 'number') update.scale.dispose();
        return { ...update, scale };
      });
      hooks.onLog.tap((record) => (norm ? { ...record, gradientNorm: norm.clone() } : record));
    },
    settings: () => ({ maxNorm }),
    dispose: forget,
  };
};
