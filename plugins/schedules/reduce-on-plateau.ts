import { betterThan, checkWatched, type Host, SCHEDULE, type State, watched } from '../../core/index.js';

export interface ReduceOnPlateauOptions {
  /** The metric of evaluations that is watched. */
  readonly metric?: string;
  readonly mode?: 'min' | 'max';
  /** The rate is multiplied by this. */
  readonly factor?: number;
  /** Evaluations without an improvement that are let pass. */
  readonly patience?: number;
  /** Share of the best value by which one must be better to count. */
  readonly threshold?: number;
  /** Evaluations after a reduction that are not counted. */
  readonly cooldown?: number;
  /** The least multiple of the base rate. */
  readonly minFactor?: number;
}

/**
 * Lowers the rate when a metric no longer gets better (torch.optim.lr_scheduler.ReduceLROnPlateau, relative threshold). It looks at
 * evaluations, so explain() cannot foresee its rates.
 */
export const reduceOnPlateau = ({
  metric = 'loss.held',
  mode = 'min',
  factor = 0.1,
  patience = 10,
  threshold = 1e-4,
  cooldown = 0,
  minFactor = 0,
}: ReduceOnPlateauOptions = {}) => {
  let multiplier = 1;
  let best: number | null = null;
  let bad = 0;
  let cooling = 0;
  return {
    name: 'reduce-on-plateau',
    metrics: [],
    fills: SCHEDULE,
    unknown: true,
    after: ['evaluation'],
    apply(host: Host) {
      const { hooks } = host;
      hooks.validate.tap((problems) => {
        const check = problems.options('reduce-on-plateau');
        if (!(factor > 0 && factor < 1)) check.invalid(`factor is ${factor}`, 'Give a number between 0 and 1.');
        check.whole('patience', patience, 0);
        check.whole('cooldown', cooldown, 0);
        checkWatched(problems, 'reduce-on-plateau', host.metrics(), metric);
      });
      hooks.onEvaluate.tap((metrics) => {
        const value = watched('reduce-on-plateau', metrics, metric);
        // torch's relative threshold, which has the best value's sign.
        if (betterThan(value, best, { mode, minDelta: (best ?? 0) * threshold })) {
          best = value;
          bad = 0;
        } else bad++;
        if (cooling > 0) {
          cooling--;
          bad = 0;
        }
        if (bad > patience) {
          multiplier = Math.max(minFactor, multiplier * factor);
          cooling = cooldown;
          bad = 0;
        }
        return metrics;
      });
      hooks.onSchedule.tap((rate, { step, warmupSteps }) => (step < warmupSteps ? rate : rate * multiplier));
    },
    settings: () => ({ metric, mode, factor, patience, threshold, cooldown, minFactor }),
    capture: async (): Promise<State> => ({ multiplier, best, bad, cooling }),
    async restore(state: State) {
      ({ multiplier, best, bad, cooling } = state as unknown as { multiplier: number; best: number | null; bad: number; cooling: number });
    },
  };
};
