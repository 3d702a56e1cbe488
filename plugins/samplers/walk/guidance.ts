import type { Tensor4D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';

/**
 * Classifier-free guidance (Ho and Salimans 2022): `both` holds predictions of the same samples, first without what is wanted, then with it.
 * `rescale` is how far the spread goes back to the wanted one's.
 */
export function guided(both: Tensor4D, guidance: number, rescale: number): Tensor4D {
  const [without, wanted] = tf.split(both, 2) as [Tensor4D, Tensor4D];
  const towards = without.add(wanted.sub(without).mul(guidance)) as Tensor4D;
  return rescale === 0 ? towards : rescaled(towards, wanted, rescale);
}

/**
 * A guided prediction brought part of the way, `share`, back to the spread that the wanted one has within each picture
 * (Lin et al. 2024, section 3.4; diffusers' rescale_noise_cfg).
 */
export function rescaled(towards: Tensor4D, wanted: Tensor4D, share: number): Tensor4D {
  const deviation = (x: Tensor4D) => tf.moments(x, [1, 2, 3], true).variance.sqrt();
  const back = deviation(wanted).div(deviation(towards));
  return towards.mul(back.mul(share).add(1 - share)) as Tensor4D;
}
