import type { Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';

/**
 * Runs the device's kernel of a name of FUSED, if it has one. The operations that models are made of ask for it; without one they compute the same
 * in plain TensorFlow.js. Each is one node on the tape, with its gradient written out.
 */
export function fused(name: string, inputs: Readonly<Record<string, Tensor>>, attributes: Record<string, unknown> = {}): Tensor[] | null {
  if (!tf.getKernel(name, tf.getBackend())) return null;
  const out = tf.engine().runKernel(name, inputs as never, attributes as never) as Tensor | Tensor[];
  return Array.isArray(out) ? out : [out];
}
