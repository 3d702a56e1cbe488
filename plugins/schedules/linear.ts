import { schedule } from './curve/schedule.js';

/** Falls in a line to 0 at the end: (T - s) / max(1, T - W). */
export const linear = () =>
  schedule('linear', ({ step, warmupSteps, totalSteps }) => Math.max(0, (totalSteps - step) / Math.max(1, totalSteps - warmupSteps)));
