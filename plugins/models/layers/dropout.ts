import type { Context, Tensor } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';

/**
 * Inverted dropout (Srivastava et al. 2014) whose mask is a function of seed, step, microBatch and the layer's path, so that a resumed
 * run draws it again. `shape` is the mask's, which may be broadcast along axes of x. For training only: it does not ask the mode.
 */
export function dropout(context: Context, path: string, x: Tensor, rate: number, shape: readonly number[] = x.shape): Tensor {
  const mask = new Float32Array(shape.reduce((a, b) => a * b, 1));
  context.drawHere(`dropout:${path}`).uniforms(mask);
  for (let i = 0; i < mask.length; i++) mask[i] = mask[i] < rate ? 0 : 1 / (1 - rate);
  return x.mul(tf.tensor(mask, [...shape]));
}
