import { eulerWalk } from './walk/euler.js';
import { samplerPlugin } from './walk/plugin.js';
import { usesKarras } from './walk/sigmas.js';
import type { Spacing } from './walk/timesteps.js';

export interface EulerOptions {
  /** Overrides the noise schedule's timestep_spacing. */
  readonly spacing?: Spacing;
  /** Noise levels as Karras et al. 2022 space them; by default as the noise schedule's use_karras_sigmas says. */
  readonly karras?: boolean;
}

/** Euler (Karras et al. 2022, algorithm 2 without churn), as diffusers' EulerDiscreteScheduler. */
export const euler = ({ spacing, karras }: EulerOptions = {}) =>
  samplerPlugin({
    name: 'euler',
    spacing,
    usualSpacing: 'linspace',
    begin: (schedule, steps, spacing) =>
      eulerWalk(schedule, steps, { spacing, karras: usesKarras(schedule, karras, 'euler'), ancestral: false }),
  });
