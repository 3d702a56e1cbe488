import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { FUSED, type FusedName } from './contract.js';

/**
 * Runs the device's kernel of this name, if it has one. The operations that models are made of ask for it; without one they compute the same
 * in plain TensorFlow.js. Each is one node on the tape, with its gradient written out.
 */
export function fused(
  name: FusedName,
  inputs: Readonly<Record<string, Tensor>>,
  attributes: Record<string, unknown> = {},
): Tensor[] | null {
  const { kernel } = FUSED[name];
  if (!tf.getKernel(kernel, tf.getBackend())) return null;
  const out = tf.engine().runKernel(kernel, inputs as never, attributes as never) as Tensor | Tensor[];
  return Array.isArray(out) ? out : [out];
}
