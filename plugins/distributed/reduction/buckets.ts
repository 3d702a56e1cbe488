import type { Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';

/** Floats that are reduced at a time: 1 MB, what a prototype was fastest with. */
export const BUCKET = 1 << 18;

export interface ReduceOptions {
  /** Send float16. */
  readonly half?: boolean;
  /** Floats of a bucket on WebGPU. */
  readonly bucket?: number;
}

/** The tensor itself if no other looks at its memory, else a copy of it. */
export function ownMemory(tensor: Tensor): Tensor {
  if (tf.backend().refCount(tensor.dataId) === 1 && tensor.dtype === 'float32') return tensor;
  const copy = tf.tidy(() => tensor.add(0));
  tensor.dispose();
  return copy;
}
