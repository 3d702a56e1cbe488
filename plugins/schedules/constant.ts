import { schedule } from './curve/schedule.js';

/** The base rate throughout; constant_with_warmup is this with warmup(). */
export const constant = () => schedule('constant', () => 1, { needsLength: false });
