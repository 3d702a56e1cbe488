import * as tf from '../../../core/tf.js';
import { type CodeStorage, operation } from './contract.js';

/** Where the device has no bytes: four each. */
const integers: CodeStorage = {
  store: (codes) => codes,
  load: (stored) => stored,
  nearest: (x, edges) => tf.searchSorted(tf.tensor1d([...edges]), x, 'left').reshape([-1]),
};

/** How the current device keeps 8-bit codes. */
export const codeStorage = (): CodeStorage => operation('codes') ?? integers;
