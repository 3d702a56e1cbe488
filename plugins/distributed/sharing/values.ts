import { type ErrorCode, type Model, SteploomError, type TensorData } from '../../../core/index.js';
import type { Variable } from '../../../core/tf.js';

/** An error that every rank finds at once. */
export function together(code: ErrorCode, what: string, fix: string): never {
  throw new SteploomError({ code, plugin: 'distributed', what, fix }, { everyRank: true });
}

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array } as const;

/** A tensor's values as they are sent. */
export const bytesOf = ({ data }: TensorData): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** A tensor of values that were sent. */
export const withBytes = ({ dtype, shape }: Pick<TensorData, 'dtype' | 'shape'>, bytes: Uint8Array): TensorData => ({
  dtype,
  shape,
  data: new ARRAYS[dtype](bytes.slice().buffer),
});

/** Running statistics: variables that change without gradients. */
export const buffersOf = (model: Model): [string, Variable][] =>
  [...model.parameters].filter(([, { buffer }]) => buffer).map(([path, { variable }]) => [path, variable]);
