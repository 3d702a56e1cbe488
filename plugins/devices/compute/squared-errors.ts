import { differentiable } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';

/**
 * The mean of (a - b)^2 for each example: [n, ...] both, to [n]. One node: the gradient of TensorFlow.js's mean multiplies with ones
 * of the whole shape, which are made on the host and sent to the device.
 */
export function squaredErrors(a: Tensor, b: Tensor): Tensor {
  const [n] = a.shape;
  const inner = a.size / n;
  const ones = (shape: number[]) => [n, ...shape.slice(1).map(() => 1)];
  return differentiable(
    { a, b },
    (save) => {
      const difference = tf.sub(a, b);
      save([difference]);
      return difference.square().reshape([n, inner]).mean(1);
    },
    (dy, [difference]) => {
      const each = (sign: number) => difference.mul(dy.mul((sign * 2) / inner).reshape(ones(a.shape)));
      return { a: () => each(1), b: () => each(-1) };
    },
  );
}
