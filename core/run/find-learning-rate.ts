import { Problems, SteploomError } from '../errors.js';
import { loop } from '../loop.js';
import { makeHooks } from '../plugin/hooks.js';
import { type Rates, RUN } from '../plugin/roles.js';
import type { Prepared } from './prepared.js';
import type { Session } from './session.js';
import { unchanged } from './unchanged.js';

export interface LearningRateOptions {
  /** The rate of the first step; 1e-7 by default. */
  readonly least?: number;
  /** The rate of the last one; 1 by default. */
  readonly most?: number;
  /** Steps, each with a rate that is larger by the same factor; 100 by default. */
  readonly steps?: number;
  /** The test ends where the smoothed loss is so many times its lowest value; 4 by default. */
  readonly divergence?: number;
  /** Told of each step that is made. */
  readonly onStep?: (done: number, of: number) => void;
}

/** What a range test found: the rate and the loss of each step. */
export interface LearningRates {
  readonly rates: readonly number[];
  readonly losses: readonly number[];
  /** Means of the losses over some steps, in which the suggestion is looked for. */
  readonly smoothed: readonly number[];
  /** The rate at which the smoothed loss falls fastest, before its lowest value; null where it never falls. */
  readonly suggestion: number | null;
  /** Whether the test ended because the loss rose too far. */
  readonly diverged: boolean;
}

/** How much of the running mean a step leaves as it was. */
const KEEP = 0.9;

/** Running means, corrected for that they start at 0. */
export function smoothed(losses: readonly number[]): number[] {
  let mean = 0;
  return losses.map((loss, i) => (mean = KEEP * mean + (1 - KEEP) * loss) / (1 - KEEP ** (i + 1)));
}

/** Steps at the beginning in which the mean is of few losses, and says little; and those on each side over which its fall is measured. */
const [UNSETTLED, AROUND] = [10, 3];

/** The rate before the lowest loss at which the loss falls fastest over the logarithm of the rate, whose steps are equal. */
export function steepest(rates: readonly number[], losses: readonly number[]): number | null {
  const first = Math.min(UNSETTLED, Math.floor(losses.length / 4));
  const lowest = losses.reduce((best, loss, i) => (i >= first && loss < losses[best] ? i : best), first);
  let [fall, found]: [number, number | null] = [0, null];
  for (let i = first; i < lowest; i++) {
    const [from, to] = [Math.max(first, i - AROUND), Math.min(lowest, i + AROUND)];
    const change = (losses[to] - losses[from]) / (to - from);
    if (change < fall) [fall, found] = [change, rates[i]];
  }
  return found;
}

function check({ least, most, steps, divergence }: Required<Pick<LearningRateOptions, 'least' | 'most' | 'steps' | 'divergence'>>): void {
  const problems = new Problems();
  const options = problems.options('find-learning-rate');
  options.positive('least', least);
  options.positive('most', most);
  if (least >= most) options.invalid(`least is ${least}, most ${most}`, 'Give a larger most.');
  options.whole('steps', steps, 2);
  if (!(divergence > 1)) options.invalid(`divergence is ${divergence}`, 'Give a number above 1.');
  if (problems.list.length > 0) throw new SteploomError(problems.list);
}

/** Every group at the rate of the test; a group with a base rate of its own keeps its proportion to the run's. */
function ratesFor({ assembled, optimizer, groups }: Prepared, rate: number): Record<string, Rates> {
  const run = assembled.resolve(RUN);
  const proportion = (own: number | undefined): number => (own === undefined || run.learningRate === 0 ? 1 : own / run.learningRate);
  return Object.fromEntries(
    groups.map((group) => {
      const different = optimizer.groups?.[group] ?? run.groups[group];
      const learningRate = rate * proportion(different?.learningRate);
      return [group, { learningRate, weightDecay: different?.weightDecay ?? run.weightDecay }];
    }),
  );
}

/**
 * A learning-rate range test (Smith 2017, "Cyclical learning rates", section 3.3; with the rate growing exponentially, as fastai has it): the first steps of the run with
 * a rate that grows from step to step. It is the loop with other rates, and nothing of what comes around steps: no log, evaluation or checkpoint.
 */
export async function findLearningRate(
  session: Session,
  { least = 1e-7, most = 1, steps = 100, divergence = 4, onStep }: LearningRateOptions,
): Promise<LearningRates> {
  check({ least, most, steps, divergence });
  const { prepared, startStep } = session;
  const rates: number[] = [];
  const losses: number[] = [];
  const rateAt = (step: number): number => least * (most / least) ** ((step - startStep) / (steps - 1));
  let diverged = false;
  const { shouldLog, onRequest, afterEpoch, onEnd } = makeHooks();
  shouldLog.tap('find-learning-rate', () => true);
  const work = () =>
    loop({
      hooks: { ...session.hooks, shouldLog, onRequest, afterEpoch, onEnd },
      plan: { ...session.plan, steps: startStep + steps },
      update: (...how) => session.update(...how),
      startStep,
      metrics: session.metrics,
      load: (micro) => session.load(micro),
      gradients: (batch, micro) => session.gradients(batch, micro),
      requests: () => ({ stop: 0, checkpoint: 0, evaluate: 1, abandon: 0 }),
      rates: (step) => ratesFor(prepared, rateAt(step)),
      async log({ step }, sum) {
        const loss = (await sum.loss.data())[0] / sum.items;
        if (!Number.isFinite(loss)) {
          diverged = true;
          return;
        }
        rates.push(rateAt(step));
        losses.push(loss);
        const means = smoothed(losses);
        if (means[means.length - 1] > divergence * Math.min(...means)) diverged = true;
        onStep?.(losses.length, steps);
      },
      begin: async () => false,
      evaluate: async () => diverged,
      checkpoint: async () => undefined,
      breaksOff: async () => false,
      abandon: async () => undefined,
      release: (sum, update) => session.release(sum, update),
      breathe: () => session.breathe(),
    });
  await unchanged(prepared, async () => {
    try {
      await work();
    } catch (error) {
      // What the guard of gradients says where the rate is too large.
      if (!(error instanceof SteploomError && error.code === 'NON_FINITE')) throw error;
      diverged = true;
    } finally {
      await session.forgetBatches();
    }
  });
  const means = smoothed(losses);
  return { rates, losses, smoothed: means, suggestion: steepest(rates, means), diverged };
}
