import type { Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { operation } from './contract.js';

/** Integers from 0 to 255 in a device's memory. */
export interface CodeStorage {
  /** int32 [n] to whatever the device keeps. */
  store(codes: Tensor): Tensor;
  /** And back. */
  load(stored: Tensor): Tensor;
  /** For each number of x [n], how many of the rising `edges` lie below it: int32. */
  nearest(x: Tensor, edges: readonly number[]): Tensor;
}

/** Where the device has no bytes: four each. */
const integers: CodeStorage = {
  store: (codes) => codes,
  load: (stored) => stored,
  nearest: (x, edges) => tf.searchSorted(tf.tensor1d([...edges]), x, 'left').reshape([-1]),
};

export const codeStorage = (): CodeStorage => operation('codes') ?? integers;
