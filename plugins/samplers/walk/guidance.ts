import type { Tensor4D } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';

/**
 * A guided prediction brought part of the way, `share`, back to the spread that the wanted one has within each picture
 * (Lin et al. 2024, section 3.4; diffusers' rescale_noise_cfg).
 */
export function rescaled(guided: Tensor4D, wanted: Tensor4D, share: number): Tensor4D {
  const deviation = (x: Tensor4D) => tf.moments(x, [1, 2, 3], true).variance.sqrt();
  const back = deviation(wanted).div(deviation(guided));
  return guided.mul(back.mul(share).add(1 - share)) as Tensor4D;
}
