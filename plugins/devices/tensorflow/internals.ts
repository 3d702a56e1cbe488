import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';

export interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

/** What the backend knows of a tensor; `id` is that of the library's. */
export interface TensorEntry {
  shape: number[];
  dtype: number;
  values: unknown;
  id: number;
}

/** What the library says of a tensor that an operation made. */
export interface Output {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: number;
}

/** The parts of TensorFlow's backend for Node that are reached into (tfjs-node 4.22). */
export interface TensorFlowBackend {
  readonly isUsingGpuDevice?: boolean;
  readonly binding: {
    readonly TF_Version?: string;
    readonly TF_ATTR_TYPE: number;
    readonly TF_ATTR_SHAPE: number;
    readonly TF_ATTR_STRING: number;
    readonly TF_ATTR_BOOL: number;
    readonly TF_ATTR_FLOAT: number;
    readonly TF_FLOAT: number;
    readonly TF_INT32: number;
    readonly TF_UINT8: number;
    executeOp(name: string, attributes: readonly Attribute[], inputs: readonly number[], outputs: number): Output[];
    createTensor(shape: readonly number[], dtype: number, values: ArrayBufferView): number;
    tensorDataSync(id: number): Float32Array;
    deleteTensor(id: number): void;
  };
  readonly tensorMap: { get(id: object): TensorEntry };
  getInputTensorIds(tensors: readonly Tensor[]): number[];
  createOutputTensor(made: Output): Tensor;
  readSync(dataId: object): unknown;
  executeSingleOutput(name: string, attributes: readonly Attribute[], inputs: readonly Tensor[]): Tensor;
  executeMultipleOutputs(name: string, attributes: readonly Attribute[], inputs: readonly Tensor[], outputs: number): Tensor[];
}

export const currentBackend = () => tf.backend() as unknown as TensorFlowBackend;
