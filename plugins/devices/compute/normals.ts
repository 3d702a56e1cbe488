import type { RandomGenerator } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { operation } from './contract.js';

/** Standard normal numbers [generators, ...shape], each row from one fresh generator; drawn on the device where it can. */
export function normalsOf(generators: readonly RandomGenerator[], shape: readonly number[]): Tensor {
  const size = tf.util.sizeFromShape(shape as number[]);
  const kernel = operation('normals');
  if (kernel) return tf.tidy(() => kernel(generators, size).reshape([generators.length, ...shape]));
  const all = new Float32Array(generators.length * size);
  for (const [i, generator] of generators.entries()) generator.normals(all.subarray(i * size, (i + 1) * size));
  return tf.tensor(all, [generators.length, ...shape]);
}
