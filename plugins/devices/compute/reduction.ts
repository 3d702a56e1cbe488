import type { Tensors } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';

/** Floats that are reduced at a time: 1 MB, what a prototype was fastest with. */
export const BUCKET = 1 << 18;

export interface ReduceOptions {
  /** Send float16. */
  readonly half?: boolean;
  /** Floats of a bucket, where a device works in buckets. */
  readonly bucket?: number;
}

/** Adds up the tensors of each step over all ranks. */
export interface Reducer {
  /** Tells of a tensor that will be among the next step's, by the same name, so that a device may fetch it already. */
  offer(path: string, tensor: Tensor): void;
  /**
   * Adds up tensors over all ranks, and numbers beside them, in place; returns the tensors' sums. The tensors given are consumed: where the
   * device allows it the sums stand in their memory. Every call has the same names. Numbers never travel as float16.
   */
  reduce(tensors: Tensors, numbers: Float32Array): Promise<Tensors>;
  dispose(): void;
}
