import type { Tensor4D } from '@tensorflow/tfjs';
import type { Host, Problems } from '../../core/index.js';
import type { NoiseSchedule } from '../models/stable-diffusion/noise-schedule.js';
import { refuseInvalid, SAMPLER, type Walk } from './walk/sampler.js';
import { checkSpacing, decompose, type Spacing, spaced, withSpacing } from './walk/steps.js';

export interface DDIMOptions {
  /** 0 is deterministic, 1 adds as much noise as DDPM. */
  readonly eta?: number;
  /** Compute the noise again from the clipped image; guidance above 2 needs it. */
  readonly useClippedModelOutput?: boolean;
  /** Overrides the noise schedule's timestep_spacing. */
  readonly spacing?: Spacing;
}

/** DDIM (Song, Meng and Ermon 2021, formula 12), as diffusers' DDIMScheduler. */
export const ddim = ({ eta = 0, useClippedModelOutput = false, spacing }: DDIMOptions = {}) => {
  const check = (problems: Problems): void => {
    problems.options('ddim').notNegative('eta', eta);
    checkSpacing(problems, 'ddim', spacing);
  };
  return {
    name: 'ddim',
    fills: SAMPLER,
    apply: ({ hooks }: Host) => hooks.validate.tap(check),
    walk(given: NoiseSchedule, steps: number): Walk {
      refuseInvalid(check);
      const schedule = withSpacing(given, spacing);
      const { alphasCumprod, config } = schedule;
      const timesteps = spaced(schedule, steps, 0);
      const stride = Math.floor(config.num_train_timesteps / steps);
      const last = config.set_alpha_to_one ? 1 : alphasCumprod[0];
      return {
        timesteps,
        step(prediction, index, sample, noise) {
          const t = timesteps[index];
          const abar = alphasCumprod[t];
          const next = t - stride >= 0 ? alphasCumprod[t - stride] : last;
          let { image, noise: e } = decompose(config.prediction_type, prediction, sample, abar);
          if (config.clip_sample) image = image.clipByValue(-config.clip_sample_range, config.clip_sample_range) as Tensor4D;
          if (useClippedModelOutput) e = sample.sub(image.mul(Math.sqrt(abar))).div(Math.sqrt(1 - abar)) as Tensor4D;
          const sigma = eta * Math.sqrt(((1 - next) / (1 - abar)) * (1 - abar / next));
          const towards = image.mul(Math.sqrt(next)).add(e.mul(Math.sqrt(1 - next - sigma * sigma)));
          return (sigma > 0 ? towards.add(noise().mul(sigma)) : towards) as Tensor4D;
        },
        dispose: () => undefined,
      };
    },
  };
};
