import type { Scalar } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { Tensors } from '../../../core/index.js';
import { type Program, total } from './program.js';

const squares: Program = { name: 'sum of squares', arrays: ['g'], writes: [], factors: [], body: (a, { g }) => ({ sum: a.mul(g, g) }) };

/** The sum of squares over all gradients, on the device. Inside a tidy, or the caller disposes it. */
export const sumOfSquares = (gradients: Tensors): Scalar =>
  total(
    squares,
    Object.values(gradients).map((g) => ({ g })),
  );

/** The L2 norm of the finished gradient: of the sums, times their scale. */
export const globalNorm = (gradients: Tensors, scale: number | Scalar): Scalar =>
  tf.tidy(() => sumOfSquares(gradients).sqrt().mul(scale)) as Scalar;
