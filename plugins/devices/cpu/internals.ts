import type { Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';

/** The part of TensorFlow.js's cpu backend that is reached into (version 4.22): it keeps its numbers in JavaScript's arrays. */
interface CPUBackend {
  readonly data: { get(id: object): { values: Float32Array | Int32Array } };
}

/** A tensor's numbers themselves. */
export const valuesOf = (t: Tensor): Float32Array | Int32Array => (tf.backend() as unknown as CPUBackend).data.get(t.dataId).values;

/** A factor's value. */
export const numberOf = (x: number | Tensor): number => (typeof x === 'number' ? x : valuesOf(x)[0]);
