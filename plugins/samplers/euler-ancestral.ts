import { eulerWalk } from './walk/euler.js';
import { samplerPlugin } from './walk/plugin.js';
import type { Spacing } from './walk/timesteps.js';

export interface EulerAncestralOptions {
  /** Overrides the noise schedule's timestep_spacing. */
  readonly spacing?: Spacing;
}

/** Euler with new noise at each step (k-diffusion's ancestral sampling), as diffusers' EulerAncestralDiscreteScheduler. */
export const eulerAncestral = ({ spacing }: EulerAncestralOptions = {}) =>
  samplerPlugin({
    name: 'euler-ancestral',
    spacing,
    usualSpacing: 'linspace',
    begin: (schedule, steps, spacing) => eulerWalk(schedule, steps, { spacing, karras: false, ancestral: true }),
  });
