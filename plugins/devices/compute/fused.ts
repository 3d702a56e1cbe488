import type { Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';

/** Runs the device's fused kernel if it has one. */
export function fused(name: string, inputs: Readonly<Record<string, Tensor>>, attributes: Record<string, unknown> = {}): Tensor[] | null {
  if (!tf.getKernel(name, tf.getBackend())) return null;
  const out = tf.engine().runKernel(name, inputs as never, attributes as never) as Tensor | Tensor[];
  return Array.isArray(out) ? out : [out];
}
