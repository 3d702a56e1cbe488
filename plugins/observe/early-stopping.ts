import {
  allToHost,
  assignAll,
  type Better,
  betterThan,
  checkWatched,
  type Host,
  isTensorData,
  type State,
  type TensorData,
  trainableVariables,
  watched,
} from '../../core/index.js';

export interface EarlyStoppingOptions extends Better {
  /** The metric of evaluations that is watched. */
  readonly metric?: string;
  /** Evaluations in a row without an improvement that end the run. */
  readonly patience?: number;
  /** The run ends with the weights of its best evaluation: a copy of what is trained is kept in the host's memory, and in checkpoints. False by default. */
  readonly restoreBest?: boolean;
}

/** Weights stand in the state beside the numbers. */
const WEIGHTS = 'weights/';

/**
 * Ends the run when evaluations no longer get better; the stop comes one step after the evaluation. With `restoreBest` what is saved and drawn at the
 * end is of the best evaluation's weights, however the run ends, while its last checkpoint is where training stood, to go on from.
 */
export const earlyStopping = ({ metric = 'loss.held', patience = 3, restoreBest = false, ...better }: EarlyStoppingOptions = {}) => {
  let best: number | null = null;
  let bad = 0;
  let weights: Record<string, TensorData> | null = null;
  return {
    name: 'early-stopping',
    metrics: [],
    after: ['evaluation'],
    // An average is worth what its own weights are: those trained beside it are others.
    conflicts: restoreBest ? ['ema'] : [],
    apply(host: Host) {
      const { hooks } = host;
      hooks.validate.tap((problems) => {
        problems.options('early-stopping').whole('patience', patience, 1);
        checkWatched(problems, 'early-stopping', host.metrics(), metric);
      });
      hooks.onEvaluate.tapPromise(async (metrics) => {
        const value = watched('early-stopping', metrics, metric);
        if (betterThan(value, best, better)) {
          best = value;
          bad = 0;
          if (restoreBest) weights = await allToHost(Object.fromEntries(trainableVariables(host.model())));
        } else bad++;
        return metrics;
      });
      hooks.onEnd.tap(() => {
        if (weights) assignAll('early-stopping', trainableVariables(host.model()), weights);
      });
      hooks.onRequest.tap((requests) => (bad >= patience ? { ...requests, stop: 1 } : requests));
    },
    capture: async (): Promise<State> => ({
      best,
      bad,
      ...Object.fromEntries(Object.entries(weights ?? {}).map(([path, value]) => [WEIGHTS + path, value])),
    }),
    async restore(state: State) {
      best = state.best as number | null;
      bad = state.bad as number;
      const kept = Object.entries(state).flatMap(([name, value]) =>
        name.startsWith(WEIGHTS) && isTensorData(value) ? [[name.slice(WEIGHTS.length), value] as const] : [],
      );
      weights = restoreBest && kept.length > 0 ? Object.fromEntries(kept) : null;
    },
  };
};
