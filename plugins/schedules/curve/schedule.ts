import { type Host, RUN, SCHEDULE, type ScheduleInput } from '../../../core/index.js';

/** The rate as a multiple of the base rate at a step; what a schedule is. */
export type Curve = (input: ScheduleInput) => number;

/** A schedule plugin, and the curve it is made of, so that schedules can be joined. */
export interface SchedulePlugin {
  readonly name: string;
  readonly fills: typeof SCHEDULE;
  readonly needsLength: boolean;
  readonly curve: Curve;
  apply(host: Host): void;
}

/**
 * Makes a schedule from a curve. Before warmupSteps it returns the rate unchanged: warm-up is the warm-up plugin's.
 * `problems` says what is wrong with the options, if anything.
 */
export function schedule(
  name: string,
  curve: Curve,
  {
    needsLength = true,
    duringWarmup = false,
    problems = () => [],
  }: { needsLength?: boolean; duringWarmup?: boolean; problems?: (baseLearningRate: number) => [what: string, fix: string][] } = {},
): SchedulePlugin {
  return {
    name,
    fills: SCHEDULE,
    needsLength,
    curve,
    apply({ hooks, resolve }: Host) {
      hooks.validate.tap((list) => {
        for (const [what, fix] of problems(resolve(RUN).learningRate)) list.add('OPTION_INVALID', name, what, fix);
      });
      hooks.onSchedule.tap((rate, input) => (input.step < input.warmupSteps && !duringWarmup ? rate : rate * curve(input)));
    },
  };
}

/** How far a run is after warm-up, (s - W) / max(1, T - W): 0 at W, 1 at T. */
export const progress = ({ step, warmupSteps, totalSteps }: ScheduleInput): number =>
  (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
