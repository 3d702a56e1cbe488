import type { Scalar } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { Tensors } from '../../core/index.js';
import { FUSED, listKernel } from '../devices/kernels/names.js';

/** The sum of squares over all gradients, on the device. Inside a tidy, or the caller disposes it. */
export function sumOfSquares(gradients: Tensors): Scalar {
  const list = Object.values(gradients);
  const fused = listKernel(FUSED.sumSquares);
  if (fused) return fused(list) as Scalar;
  return tf.tidy(() => tf.addN(list.map((g) => g.square().sum()))) as Scalar;
}

/** The L2 norm of the finished gradient: of the sums, times their scale. */
export const globalNorm = (gradients: Tensors, scale: number | Scalar): Scalar =>
  tf.tidy(() => sumOfSquares(gradients).sqrt().mul(scale)) as Scalar;
