import { schedule } from './curve/schedule.js';

export interface OneCycleOptions {
  /** Share of the run in which the rate rises. */
  readonly rise?: number;
  /** The first rate is the base rate divided by this, */
  readonly divisor?: number;
  /** and the last one the first divided by this. */
  readonly finalDivisor?: number;
}

/** Rises and falls along cosines within one run (Smith and Topin 2018; torch's OneCycleLR). The rise is its warm-up. */
export const oneCycle = ({ rise = 0.3, divisor = 25, finalDivisor = 1e4 }: OneCycleOptions = {}) =>
  schedule(
    'one-cycle',
    ({ step, totalSteps }) => {
      const top = rise * totalSteps - 1;
      const end = totalSteps - 1;
      const between = (from: number, to: number, p: number) =>
        to + ((from - to) / 2) * (1 + Math.cos(Math.PI * Math.min(1, Math.max(0, p))));
      if (step <= top) return between(1 / divisor, 1, top === 0 ? 1 : step / top);
      return between(1, 1 / divisor / finalDivisor, end === top ? 1 : (step - top) / (end - top));
    },
    {
      duringWarmup: true,
      settings: { rise, divisor, finalDivisor },
      check: (options) => (rise > 0 && rise < 1) || options.invalid(`rise is ${rise}`, 'Give a share between 0 and 1.'),
    },
  );
