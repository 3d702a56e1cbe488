import type { Tensor4D } from '../../../core/tf.js';
import type { NoiseSchedule } from '../../models/stable-diffusion/noise-schedule.js';

/** Shares of image and noise in a sample; their squares add up to 1. */
export interface Mixture {
  readonly signal: number;
  readonly spread: number;
}

/** The image and the noise that a prediction stands for; the image is clipped where `clip` is set and the noise schedule says clip_sample. */
export function decompose(
  { prediction_type: kind, clip_sample: clips, clip_sample_range: range }: NoiseSchedule['config'],
  prediction: Tensor4D,
  sample: Tensor4D,
  { signal, spread }: Mixture,
  clip: boolean,
): { image: Tensor4D; noise: Tensor4D } {
  const clipped = (image: Tensor4D): Tensor4D => (clip && clips ? (image.clipByValue(-range, range) as Tensor4D) : image);
  if (kind === 'v_prediction')
    return {
      image: clipped(sample.mul(signal).sub(prediction.mul(spread)) as Tensor4D),
      noise: prediction.mul(signal).add(sample.mul(spread)) as Tensor4D,
    };
  if (kind === 'sample') return { image: clipped(prediction), noise: sample.sub(prediction.mul(signal)).div(spread) as Tensor4D };
  return { image: clipped(sample.sub(prediction.mul(spread)).div(signal) as Tensor4D), noise: prediction };
}
