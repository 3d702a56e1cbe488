import { type Host, type OptionChecks, type Problems, RUN, SCHEDULE, type ScheduleInput, type Settings } from '../../../core/index.js';

/** The rate as a multiple of the base rate at a step; what a schedule is. */
export type Curve = (input: ScheduleInput) => number;

/** A schedule plugin, and the curve it is made of, so that schedules can be joined. */
export interface SchedulePlugin {
  readonly name: string;
  readonly fills: typeof SCHEDULE;
  readonly needsLength: boolean;
  readonly curve: Curve;
  /** Looks at its options for a run of that learning rate: before a run does, or the schedule that it is joined into. */
  check(problems: Problems, learningRate: number): void;
  apply(host: Host): void;
  settings(): Settings;
}

/** What is to be said of a curve. */
export interface ScheduleFacts {
  readonly needsLength?: boolean;
  /** Whether it has its say before warmupSteps, too. */
  readonly duringWarmup?: boolean;
  /** Looks at the options; it is given the run's learning rate as well, and the list itself, for the schedules it is made of. */
  check?(options: OptionChecks, learningRate: number, problems: Problems): unknown;
  /** The options: a resumed run must have the same. */
  readonly settings?: Settings;
}

/**
 * Makes a schedule from a curve. Before warmupSteps it returns the rate unchanged: warm-up is the warm-up plugin's.
 */
export function schedule(
  name: string,
  curve: Curve,
  { needsLength = true, duringWarmup = false, check = () => undefined, settings = {} }: ScheduleFacts = {},
): SchedulePlugin {
  const checkAll = (problems: Problems, learningRate: number): void => {
    check(problems.options(name), learningRate, problems);
  };
  return {
    name,
    fills: SCHEDULE,
    needsLength,
    curve,
    check: checkAll,
    apply({ hooks, resolve }: Host) {
      hooks.validate.tap((problems) => checkAll(problems, resolve(RUN).learningRate));
      hooks.onSchedule.tap((rate, input) => (input.step < input.warmupSteps && !duringWarmup ? rate : rate * curve(input)));
    },
    settings: () => ({ curve: name, ...settings }),
  };
}

/** How far a run is after warm-up, (s - W) / max(1, T - W): 0 at W, 1 at T. */
export const afterWarmup = ({ step, warmupSteps, totalSteps }: ScheduleInput): number =>
  (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
