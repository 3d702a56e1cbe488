import { fail, type Problems } from './errors.js';

/** Numbers by name, as evaluation gives them. */
export type Metrics = Readonly<Record<string, number>>;

/** A metric that a plugin watches; one that no evaluation gives is an error. */
export const watched = (plugin: string, metrics: Metrics, metric: string): number =>
  metrics[metric] ??
  fail('METRIC_MISSING', plugin, `no evaluation gives ${metric}`, `There are: ${Object.keys(metrics).join(', ') || 'none'}.`);

/**
 * Notes a problem where no evaluation will give a metric that a plugin watches; to be called in validate. Where a plugin of the user's does
 * not say which it gives, nothing is known.
 */
export function checkWatched(problems: Problems, plugin: string, given: readonly string[] | null, metric: string): void {
  if (!given || given.includes(metric)) return;
  const fix = given.length > 0 ? `Evaluations give ${given.join(', ')}.` : 'Nothing is evaluated in this run: give it data to validate on.';
  problems.add('METRIC_MISSING', plugin, `no evaluation gives ${metric}`, fix);
}

/** Which of two values of a metric is the better one. */
export interface Better {
  /** Whether less or more is better; less by default. */
  readonly mode?: 'min' | 'max';
  /** By how much a value must be better to count. */
  readonly minDelta?: number;
}

/** Whether a value is better than the best so far; none and NaN never are. */
export const betterThan = (value: number | undefined, best: number | null, { mode = 'min', minDelta = 0 }: Better = {}): value is number =>
  value !== undefined && Number.isFinite(value) && (best === null || (mode === 'min' ? value < best - minDelta : value > best + minDelta));
