import type { Random } from '../../../core/index.js';

/** The order of an epoch: pure in seed and epoch, the same on every machine. */
export const epochOrder = (random: Random, items: number, epoch: number, shuffle: boolean): Int32Array =>
  shuffle ? random.named('order', epoch).permutation(items) : Int32Array.from({ length: items }, (_, i) => i);
