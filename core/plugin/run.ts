import { RUN, type RunOptions } from './roles.js';

/** The run's own options as a plugin. Without a length of its own it trains one epoch only if `epochs` says so. */
export const run = (options: Partial<RunOptions> & Pick<RunOptions, 'learningRate'>) =>
  ({
    name: 'run',
    fills: RUN,
    weightDecay: 0.01,
    seed: 0,
    warmupSteps: 0,
    groups: {},
    ...options,
  }) as const;
