import type { Tensor4D } from '@tensorflow/tfjs';
import { refuseInvalid } from '../../../core/index.js';
import type { NoiseSchedule, PredictionType } from '../../models/stable-diffusion/noise-schedule.js';

/** How a sampler spaces its timesteps (diffusers' timestep_spacing). */
export const SPACINGS = ['leading', 'trailing', 'linspace'] as const;
export type Spacing = (typeof SPACINGS)[number];

/** The image and the noise a prediction stands for, at signal sqrt(abar). */
export function decompose(
  kind: PredictionType,
  prediction: Tensor4D,
  sample: Tensor4D,
  abar: number,
): { image: Tensor4D; noise: Tensor4D } {
  const [signal, spread] = [Math.sqrt(abar), Math.sqrt(1 - abar)];
  if (kind === 'v_prediction')
    return {
      image: sample.mul(signal).sub(prediction.mul(spread)) as Tensor4D,
      noise: prediction.mul(signal).add(sample.mul(spread)) as Tensor4D,
    };
  if (kind === 'sample') return { image: prediction, noise: sample.sub(prediction.mul(signal)).div(spread) as Tensor4D };
  return { image: sample.sub(prediction.mul(spread)).div(signal) as Tensor4D, noise: prediction };
}

/** Timesteps as diffusers spaces them (Lin et al. 2024, table 2). `extra` is 1 where a sampler counts one interval more. */
export function spaced(schedule: NoiseSchedule, steps: number, extra: 0 | 1): number[] {
  const { num_train_timesteps: total, timestep_spacing: spacing, steps_offset: offset } = schedule.config;
  refuseInvalid((problems) => problems.options('sampler').wholeWithin('steps', steps, 1, total));
  const list = Array.from({ length: steps }, (_, i) => i);
  if (spacing === 'trailing') return list.map((i) => evenRound(total - (i * total) / steps) - 1);
  if (spacing === 'linspace') return list.map((i) => evenRound(((total - 1) * (steps - 1 + extra - i)) / Math.max(1, steps - 1 + extra)));
  const ratio = Math.floor(total / (steps + extra));
  return list.map((i) => (steps - 1 + extra - i) * ratio + offset);
}

/** numpy's rounding: halves go to the even neighbour. */
const evenRound = (x: number): number => {
  const low = Math.floor(x);
  const rest = x - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
};
