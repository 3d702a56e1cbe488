import { fail } from '../../core/index.js';
import type { Tensor4D } from '../../core/tf.js';
import { decompose } from './walk/decompose.js';
import { samplerPlugin } from './walk/plugin.js';
import type { Walk } from './walk/sampler.js';
import { type Spacing, spaced } from './walk/timesteps.js';

export interface DDIMOptions {
  /** 0 is deterministic, 1 adds as much noise as DDPM. */
  readonly eta?: number;
  /** Where the noise schedule has images clipped (clip_sample), compute the noise again from the clipped one. */
  readonly useClippedModelOutput?: boolean;
  /** Overrides the noise schedule's timestep_spacing. */
  readonly spacing?: Spacing;
}

/** DDIM (Song, Meng and Ermon 2021, formula 12), as diffusers' DDIMScheduler. */
export const ddim = ({ eta = 0, useClippedModelOutput = false, spacing }: DDIMOptions = {}) =>
  samplerPlugin({
    name: 'ddim',
    spacing,
    usualSpacing: 'leading',
    check: (problems) => problems.options('ddim').notNegative('eta', eta),
    begin(schedule, steps, spacing): Walk {
      const { alphasCumprod, config } = schedule;
      const timesteps = spaced(schedule, steps, spacing);
      if (config.prediction_type === 'epsilon' && alphasCumprod[timesteps[0]] === 0)
        fail(
          'UNSUPPORTED_OPTION',
          'ddim',
          'the noise schedule leaves no signal at the last timestep (rescale_betas_zero_snr), where predicted noise (epsilon) tells nothing of the image',
          'Use the spacing leading, or euler().',
        );
      const stride = Math.floor(config.num_train_timesteps / steps);
      const last = config.set_alpha_to_one ? 1 : alphasCumprod[0];
      return {
        timesteps,
        initialSigma: 1,
        inputScale: () => 1,
        step(prediction, index, sample, noise) {
          const t = timesteps[index];
          const abar = alphasCumprod[t];
          const next = t - stride >= 0 ? alphasCumprod[t - stride] : last;
          const mixture = { signal: Math.sqrt(abar), spread: Math.sqrt(1 - abar) };
          let { image, noise: e } = decompose(config, prediction, sample, mixture);
          if (config.clip_sample) image = image.clipByValue(-config.clip_sample_range, config.clip_sample_range) as Tensor4D;
          if (useClippedModelOutput && config.clip_sample) e = sample.sub(image.mul(mixture.signal)).div(mixture.spread) as Tensor4D;
          const sigma = eta * Math.sqrt(((1 - next) / (1 - abar)) * (1 - abar / next));
          const towards = image.mul(Math.sqrt(next)).add(e.mul(Math.sqrt(1 - next - sigma * sigma)));
          return (sigma > 0 ? towards.add(noise().mul(sigma)) : towards) as Tensor4D;
        },
        dispose: () => undefined,
      };
    },
  });
