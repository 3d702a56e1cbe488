import { defineRole } from '../../../core/index.js';
import type { Tensor4D } from '../../../core/tf.js';
import type { NoiseSchedule } from '../../models/stable-diffusion/noise-schedule.js';

/** A sampler's walk from noise to image. `step` is told what the model predicted and returns the next, less noisy sample. */
export interface Walk {
  /** The timesteps to visit, falling; not all samplers' are whole. */
  readonly timesteps: readonly number[];
  /** Standard deviation of the noise that the walk begins with (diffusers' init_noise_sigma). */
  readonly initialSigma: number;
  /** What the sample is multiplied with before the model sees it at this step, so that signal and noise are as they were in training. */
  inputScale(index: number): number;
  /** Called inside a tidy; `index` counts the timesteps. What it must remember it keeps, and frees in dispose. */
  step(prediction: Tensor4D, index: number, sample: Tensor4D, noise: () => Tensor4D): Tensor4D;
  dispose(): void;
}

/** Role SAMPLER: how a run draws images from a diffusion model. */
export interface Sampler {
  /** Begins a walk of so many steps along a noise schedule. */
  walk(schedule: NoiseSchedule, steps: number): Walk;
}

declare module '../../../core/plugin/roles.js' {
  interface Roles {
    SAMPLER: Sampler;
  }
}

export const SAMPLER = defineRole('SAMPLER', ['walk']);
