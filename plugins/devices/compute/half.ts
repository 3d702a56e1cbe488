import { differentiable } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import { operation } from './contract.js';

/** Whether the current device can store tensors in half precision. */
export const hasHalf = (): boolean => operation('precision') !== undefined;

/** x stored in half precision, where the device and its shape allow it, else as it is. Its gradient is in single precision, as x is. */
export function inHalf(x: Tensor): Tensor {
  const precision = operation('precision');
  if (!precision?.fits(x.shape) || x.dtype !== 'float32' || precision.isHalf(x)) return x;
  return differentiable(
    { x },
    () => precision.half(x),
    (dy) => ({ x: () => inFull(dy) }),
  );
}

/** x stored in single precision. Its gradient is in half precision, where x is. */
export function inFull(x: Tensor): Tensor {
  const precision = operation('precision');
  if (!precision?.isHalf(x)) return x;
  return differentiable(
    { x },
    () => precision.full(x),
    (dy) => ({ x: () => inHalf(dy) }),
  );
}

/** y, in half precision where x is. */
export const storedAs = (x: Tensor, y: Tensor): Tensor => (operation('precision')?.isHalf(x) ? inHalf(y) : y);
