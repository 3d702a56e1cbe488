import type { Tensor4D } from '../../../core/tf.js';
import type { NoiseSchedule } from '../../models/stable-diffusion/noise-schedule.js';

/** Shares of image and noise in a sample; their squares add up to 1. */
export interface Mixture {
  readonly signal: number;
  readonly spread: number;
}

/** The image and the noise that a prediction stands for. */
export function decompose(
  { prediction_type: kind }: NoiseSchedule['config'],
  prediction: Tensor4D,
  sample: Tensor4D,
  { signal, spread }: Mixture,
): { image: Tensor4D; noise: Tensor4D } {
  if (kind === 'v_prediction')
    return {
      image: sample.mul(signal).sub(prediction.mul(spread)) as Tensor4D,
      noise: prediction.mul(signal).add(sample.mul(spread)) as Tensor4D,
    };
  if (kind === 'sample') return { image: prediction, noise: sample.sub(prediction.mul(signal)).div(spread) as Tensor4D };
  return { image: sample.sub(prediction.mul(spread)).div(signal) as Tensor4D, noise: prediction };
}
