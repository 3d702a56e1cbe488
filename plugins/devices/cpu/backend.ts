import { registerOperations } from '../compute/contract.js';
import type { Undo } from '../compute/undo.js';
import { adamw8bit } from './update.js';

/**
 * Readies TensorFlow.js's cpu backend for training. Whatever it changes outside of steploom is listed here: nothing. An operation is
 * registered behind the compute contract; `undo` takes it back.
 */
export const install = (): Undo => registerOperations('cpu', { adamw8bit });
