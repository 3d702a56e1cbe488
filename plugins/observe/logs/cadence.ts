import type { Position } from '../../../core/index.js';

/** Steps at which something happens every `steps`: those that complete a multiple of it, and the last. */
export const isDue = ({ step, last }: Pick<Position, 'step' | 'last'>, steps: number): boolean => last || (step + 1) % steps === 0;
