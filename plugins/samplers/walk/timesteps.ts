import { refuseInvalid } from '../../../core/index.js';
import type { NoiseSchedule } from '../../models/stable-diffusion/noise-schedule.js';

/** How a sampler spaces its timesteps (diffusers' timestep_spacing). */
export const SPACINGS = ['leading', 'trailing', 'linspace'] as const;
export type Spacing = (typeof SPACINGS)[number];

export interface SpacingOptions {
  /** 1 where a sampler counts one interval more, at the end without noise. */
  readonly extra?: 0 | 1;
  /** Linearly spaced timesteps as they are, between whole ones too. */
  readonly exact?: boolean;
  /** The walk begins below this timestep; all of them by default. */
  readonly below?: number;
}

/** Timesteps as diffusers spaces them (Lin et al. 2024, table 2). */
export function spaced({ config }: NoiseSchedule, steps: number, spacing: Spacing, options: SpacingOptions = {}): number[] {
  const { num_train_timesteps: total, steps_offset: offset } = config;
  const { extra = 0, exact = false, below = total } = options;
  refuseInvalid((problems) => problems.options('sampler').wholeWithin('steps', steps, 1, below));
  const list = Array.from({ length: steps }, (_, i) => i);
  // What lies half-way between two timesteps falls as in numpy's order of operations.
  if (spacing === 'trailing') {
    const stride = below - total / steps - below;
    return list.map((i) => evenRound(below + i * stride) - 1);
  }
  if (spacing === 'linspace') {
    const intervals = steps - 1 + extra;
    const all = list.map((i) => (i === 0 && intervals > 0 ? below - 1 : (intervals - i) * ((below - 1) / Math.max(1, intervals))));
    return exact ? all : all.map(evenRound);
  }
  const ratio = Math.floor(below / (steps + extra));
  const first = (steps - 1 + extra) * ratio + offset;
  refuseInvalid((problems) => {
    if (first >= total)
      problems
        .options('sampler')
        .invalid(
          `${steps} steps from the noise schedule's steps_offset ${offset} begin at timestep ${first}, past the last, ${total - 1}`,
          'Give fewer steps, or another spacing.',
        );
  });
  return list.map((i) => first - i * ratio);
}

/** numpy's rounding: halves go to the even neighbour. */
export const evenRound = (x: number): number => {
  const low = Math.floor(x);
  const rest = x - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
};
