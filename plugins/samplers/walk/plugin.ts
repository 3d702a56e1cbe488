import { type Host, type Problems, refuseInvalid } from '../../../core/index.js';
import type { NoiseSchedule } from '../../models/stable-diffusion/noise-schedule.js';
import { SAMPLER, type Walk } from './sampler.js';
import { SPACINGS, type Spacing } from './timesteps.js';

/** What a sampler is made of. */
export interface SamplerFacts {
  readonly name: string;
  /** In place of the noise schedule's timestep_spacing. */
  readonly spacing: Spacing | undefined;
  /** Where neither names one: the default of diffusers' scheduler. */
  readonly usualSpacing: Spacing;
  /** Looks at the sampler's other options. */
  check?(problems: Problems): void;
  begin(schedule: NoiseSchedule, steps: number, spacing: Spacing): Walk;
}

/** A sampler's plugin: its options are checked before a run, and before each walk where there is none. */
export const samplerPlugin = ({ name, spacing, usualSpacing, check, begin }: SamplerFacts) => {
  const checkAll = (problems: Problems): void => {
    check?.(problems);
    if (spacing !== undefined) problems.options(name).oneOf('spacing', spacing, SPACINGS);
  };
  return {
    name,
    fills: SAMPLER,
    apply: ({ hooks }: Host) => hooks.validate.tap(checkAll),
    walk(schedule: NoiseSchedule, steps: number): Walk {
      refuseInvalid(checkAll);
      return begin(schedule, steps, spacing ?? schedule.config.timestep_spacing ?? usualSpacing);
    },
  };
};
