import type { Tensor, TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';

/** All of TensorFlow.js's cpu backend (version 4.22) that is reached into: it keeps its numbers in JavaScript's arrays. */
export interface CPUBackend {
  readonly data: { get(id: object): { values: Float32Array | Int32Array } };
  makeTensorInfo(shape: number[], dtype: string, values: unknown): TensorInfo;
  readSync(id: object): Float32Array;
  disposeData(id: object): void;
}

const entryOf = (t: Tensor) => (tf.backend() as unknown as CPUBackend).data.get(t.dataId);

/** A tensor's numbers themselves. */
export const valuesOf = (t: Tensor): Float32Array | Int32Array => entryOf(t).values as Float32Array | Int32Array;

/** Gives a tensor other numbers. The array it had stays as it is: it may be somebody's. */
export function setValues(t: Tensor, values: Float32Array): void {
  entryOf(t).values = values;
}

/** A factor's value. */
export const numberOf = (x: number | Tensor): number => (typeof x === 'number' ? x : valuesOf(x)[0]);
