import type { Host } from '../../core/index.js';

/** Linear warm-up: multiplies the rate by s / W for steps s before W, the run's warmupSteps. The first step's rate is 0. */
export const warmup = () => ({
  name: 'warmup',
  apply: ({ hooks }: Host) =>
    hooks.onSchedule.tap((rate, { step, warmupSteps }) => (step < warmupSteps ? rate * (step / warmupSteps) : rate)),
});
