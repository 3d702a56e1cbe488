import type { Tensor4D } from '@tensorflow/tfjs';
import { samplerPlugin } from './walk/plugin.js';
import type { Walk } from './walk/sampler.js';
import { decompose, type Spacing, spaced } from './walk/steps.js';

export interface DDIMOptions {
  /** 0 is deterministic, 1 adds as much noise as DDPM. */
  readonly eta?: number;
  /** Compute the noise again from the clipped image; guidance above 2 needs it. */
  readonly useClippedModelOutput?: boolean;
  /** Overrides the noise schedule's timestep_spacing. */
  readonly spacing?: Spacing;
}

/** DDIM (Song, Meng and Ermon 2021, formula 12), as diffusers' DDIMScheduler. */
export const ddim = ({ eta = 0, useClippedModelOutput = false, spacing }: DDIMOptions = {}) =>
  samplerPlugin({
    name: 'ddim',
    spacing,
    check: (problems) => problems.options('ddim').notNegative('eta', eta),
    begin(schedule, steps): Walk {
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
  });
