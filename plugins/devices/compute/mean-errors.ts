import { differentiable } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';

/** The mean of l1 |e| + l2 e^2 for each example: e [n, ...] to [n]. One node, as squaredErrors is. */
export function meanErrors(e: Tensor, l1: number, l2: number): Tensor {
  const [n] = e.shape;
  const inner = e.size / n;
  return differentiable(
    { e },
    (save) => {
      save([e]);
      const size = e.abs();
      return size.mul(l1).add(size.square().mul(l2)).reshape([n, inner]).mean(1);
    },
    (dy, [saved]) => ({
      e: () => {
        const slope = saved
          .sign()
          .mul(l1)
          .add(saved.mul(2 * l2));
        return slope.mul(dy.mul(1 / inner).reshape([n, ...e.shape.slice(1).map(() => 1)]));
      },
    }),
  );
}
