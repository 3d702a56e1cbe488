import { fail, type Plugin } from '../../core/index.js';
import { constant } from '../../plugins/schedules/constant.js';
import { cosine } from '../../plugins/schedules/cosine.js';
import { cosineWithRestarts } from '../../plugins/schedules/cosine-with-restarts.js';
import { inverseSqrt } from '../../plugins/schedules/inverse-sqrt.js';
import { linear } from '../../plugins/schedules/linear.js';
import { oneCycle } from '../../plugins/schedules/one-cycle.js';
import { piecewiseConstant } from '../../plugins/schedules/piecewise-constant.js';
import { polynomial } from '../../plugins/schedules/polynomial.js';
import { warmup } from '../../plugins/schedules/warmup.js';
import { warmupStableDecay } from '../../plugins/schedules/warmup-stable-decay.js';

export const SCHEDULES = [
  'linear',
  'cosine',
  'cosine_with_restarts',
  'polynomial',
  'constant',
  'constant_with_warmup',
  'piecewise_constant',
  'inverse_sqrt',
  'warmup_stable_decay',
  'one_cycle',
] as const;
export type ScheduleName = (typeof SCHEDULES)[number];

export interface ScheduleOptions {
  readonly cycles?: number;
  readonly power?: number;
  readonly end?: number;
  readonly rules?: string;
}

/** Whether diffusers gives a schedule of this name a warm-up. */
export const warmsUp = (name: ScheduleName): boolean => !['constant', 'piecewise_constant', 'one_cycle'].includes(name);

/** The plugins for a schedule's name: the schedule, and warm-up where it has one. */
export function scheduleByName(name: ScheduleName, { cycles, power, end, rules }: ScheduleOptions = {}): Plugin[] {
  const make = {
    linear,
    cosine: () => cosine({ cycles }),
    cosine_with_restarts: () => cosineWithRestarts({ cycles }),
    polynomial: () => polynomial({ power, end }),
    constant,
    constant_with_warmup: constant,
    piecewise_constant: () =>
      piecewiseConstant(rules ?? fail('OPTION_MISSING', 'piecewise_constant', 'it needs rules', 'Give lr_step_rules, as "1:500,0.1".')),
    inverse_sqrt: () => inverseSqrt(),
    warmup_stable_decay: () => warmupStableDecay(),
    one_cycle: () => oneCycle(),
  }[name];
  if (!make) fail('OPTION_INVALID', 'schedule', `there is no schedule "${name}"`, `There are: ${SCHEDULES.join(', ')}.`);
  return warmsUp(name) ? [make(), warmup()] : [make()];
}
