import { schedule } from './curve/schedule.js';

/** sqrt(knee / step) from the knee on, 1 before (Vaswani et al. 2017). The knee is the warm-up's length unless given. */
export const inverseSqrt = (knee?: number) =>
  schedule(
    'inverse-sqrt',
    ({ step, warmupSteps }) => {
      const from = knee ?? Math.max(1, warmupSteps);
      return Math.sqrt(from / Math.max(step, from));
    },
    { needsLength: false, settings: { knee: knee ?? null }, check: (options) => knee === undefined || options.positive('knee', knee) },
  );
