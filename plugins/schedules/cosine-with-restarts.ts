import { afterWarmup, schedule } from './curve/schedule.js';

export interface CosineWithRestartsOptions {
  /** How often the rate falls from 1 to 0; it starts anew each time. */
  readonly cycles?: number;
}

/** (1 + cos(pi ((cycles p) mod 1))) / 2 over the progress p, 0 at the end (Loshchilov and Hutter 2017, SGDR). */
export const cosineWithRestarts = ({ cycles = 1 }: CosineWithRestartsOptions = {}) =>
  schedule(
    'cosine-with-restarts',
    (input) => {
      const p = afterWarmup(input);
      return p >= 1 ? 0 : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * ((cycles * p) % 1))));
    },
    { settings: { cycles }, check: (options) => options.positive('cycles', cycles) },
  );
