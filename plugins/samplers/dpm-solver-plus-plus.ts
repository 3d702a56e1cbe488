import type { Tensor4D } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { samplerPlugin } from './walk/plugin.js';
import type { Walk } from './walk/sampler.js';
import { decompose, type Spacing, spaced } from './walk/steps.js';

export interface DPMSolverOptions {
  /** Overrides the noise schedule's timestep_spacing. */
  readonly spacing?: Spacing;
  /** Clip the predicted image to the schedule's clip_sample_range; diffusers' solver does not. */
  readonly clip?: boolean;
}

/** DPM-Solver++ 2M (Lu et al. 2022, algorithm 2), as diffusers' DPMSolverMultistepScheduler with its defaults. */
export const dpmSolverPlusPlus = ({ spacing, clip = false }: DPMSolverOptions = {}) =>
  samplerPlugin({
    name: 'dpm-solver-plus-plus',
    spacing,
    begin(schedule, steps): Walk {
      const { alphasCumprod, config } = schedule;
      const timesteps = spaced(schedule, steps, 1);
      const point = (abar: number) => ({
        signal: Math.sqrt(abar),
        spread: Math.sqrt(1 - abar),
        lambda: Math.log(Math.sqrt(abar)) - Math.log(Math.sqrt(1 - abar)),
      });
      // The walk ends at no noise at all, where lambda is infinite and the update is the predicted image itself.
      const points = [...timesteps.map((t) => point(alphasCumprod[t])), point(1)];
      let before: Tensor4D | null = null;
      return {
        timesteps,
        step(prediction, index, sample) {
          const [here, next] = [points[index], points[index + 1]];
          let { image } = decompose(config.prediction_type, prediction, sample, alphasCumprod[timesteps[index]]);
          if (clip) image = image.clipByValue(-config.clip_sample_range, config.clip_sample_range) as Tensor4D;
          const h = next.lambda - here.lambda;
          const factor = next.signal * (1 - Math.exp(-h));
          let direction: tf.Tensor = image;
          if (before && index < timesteps.length - 1) {
            const ratio = (here.lambda - points[index - 1].lambda) / h;
            direction = image.add(image.sub(before).mul(0.5 / ratio));
          }
          before?.dispose();
          before = tf.keep(image.clone());
          return sample.mul(next.spread / here.spread).add(direction.mul(factor)) as Tensor4D;
        },
        dispose() {
          before?.dispose();
          before = null;
        },
      };
    },
  });
