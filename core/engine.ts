import type { Tensors } from './model.js';
import type { Tensor } from './tf.js';
import * as tf from './tf.js';

/** What TensorFlow.js 4 records of one operation. */
export interface TapeNode {
  kernelName: string;
  inputs: Record<string, Tensor>;
  outputs: Tensor[];
  saved?: Tensor[];
  gradient?: (dys: (Tensor | null)[]) => Record<string, () => Tensor>;
  /** Ours: what stands for several operations is computed again, on a tape of its own. */
  again?: () => Recorded;
  /** Ours: gradients by the ids of inputs, at least of those that are asked for, without computing again; null where it cannot give them. */
  back?: (dy: Tensor, wanted: readonly number[]) => ReadonlyMap<number, Tensor> | null;
}

/** What was computed, and each operation of it. */
export interface Recorded {
  readonly result: Tensor;
  readonly tape: TapeNode[];
}

/** All of TensorFlow.js's engine (version 4) that is reached into and that it does not declare as its own to use. */
interface Engine {
  readonly state: {
    activeTape: TapeNode[] | null;
    gradientDepth: number;
    kernelDepth: number;
    /** Which backend holds a tensor's values, and how many bytes they are. */
    readonly tensorInfo: WeakMap<object, { readonly backend: unknown; readonly bytes: number }>;
  };
  /** Told of every tensor, and of values that go. */
  trackTensor(tensor: Tensor, backend: unknown): void;
  removeDataId(id: object, backend: unknown): void;
  startScope(name: string): void;
  endScope(result: Tensor[]): void;
  startTape(): void;
  endTape(): void;
  runKernelFunc(params: {
    inputs: Tensors;
    forwardFunc: (backend: unknown, save: (tensors: Tensor[]) => void) => Tensor;
    backwardsFunc: (dy: Tensor, saved: Tensor[]) => Record<string, () => Tensor>;
  }): Tensor;
}

export const engineInternals = (): Engine => tf.engine() as unknown as Engine;
