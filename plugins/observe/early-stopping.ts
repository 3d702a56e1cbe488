import { type Better, betterThan, checkWatched, type Host, type State, watched } from '../../core/index.js';

export interface EarlyStoppingOptions extends Better {
  /** The metric of evaluations that is watched. */
  readonly metric?: string;
  /** Evaluations in a row without an improvement that end the run. */
  readonly patience?: number;
}

/** Ends the run when evaluations no longer get better; the stop comes one step after the evaluation. */
export const earlyStopping = ({ metric = 'loss.held', patience = 3, ...better }: EarlyStoppingOptions = {}) => {
  let best: number | null = null;
  let bad = 0;
  return {
    name: 'early-stopping',
    metrics: [],
    after: ['evaluation'],
    apply(host: Host) {
      const { hooks } = host;
      hooks.validate.tap((problems) => {
        problems.options('early-stopping').whole('patience', patience, 1);
        checkWatched(problems, 'early-stopping', host.metrics(), metric);
      });
      hooks.onEvaluate.tap((metrics) => {
        const value = watched('early-stopping', metrics, metric);
        if (betterThan(value, best, better)) {
          best = value;
          bad = 0;
        } else bad++;
        return metrics;
      });
      hooks.onRequest.tap((requests) => (bad >= patience ? { ...requests, stop: 1 } : requests));
    },
    capture: async (): Promise<State> => ({ best, bad }),
    async restore(state: State) {
      best = state.best as number | null;
      bad = state.bad as number;
    },
  };
};
