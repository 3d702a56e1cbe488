import type { Tensors } from '../../../core/index.js';
import type { Scalar, Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { type Factors, operation } from './contract.js';
import { type Arrays, type Program, tensorArithmetic } from './program.js';
import { asTensors } from './update.js';

/** The sum of a program's `sum` over every element of every group, a scalar on the device; the caller owns it. */
export function total(program: Program, list: readonly Arrays[], factors: Factors = {}): Scalar {
  const sum = operation('sum');
  if (sum && list.length > 0) return sum(program, list, factors);
  return tf.tidy(() => {
    const sums = list.map((arrays) => {
      const x = { ...arrays, ...asTensors(factors) } as Record<string, Tensor>;
      return tf.tidy(() => program.body(tensorArithmetic, x).sum.sum());
    });
    return sums.length > 0 ? tf.addN(sums) : tf.scalar(0);
  }) as Scalar;
}

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
