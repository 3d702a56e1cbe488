import { afterWarmup, schedule } from './curve/schedule.js';

export interface CosineOptions {
  /** Waves over the run; half a wave falls from 1 to 0. */
  readonly cycles?: number;
}

/** (1 + cos(2 pi cycles p)) / 2 over the progress p (Loshchilov and Hutter 2017). Past the end it stays where it ended. */
export const cosine = ({ cycles = 0.5 }: CosineOptions = {}) =>
  schedule('cosine', (input) => Math.max(0, 0.5 * (1 + Math.cos(Math.PI * 2 * cycles * Math.min(1, afterWarmup(input))))), {
    settings: { cycles },
    check: (options) => options.positive('cycles', cycles),
  });
