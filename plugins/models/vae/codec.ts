import type { Context } from '../../../core/index.js';
import type { Tensor4D } from '../../../core/tf.js';

/** What stands between pixels and the denoiser. All tensors are [n, h, w, channels]. */
export interface Codec {
  /** Pixels along one side of a latent. */
  readonly factor: number;
  /** What an image gives whenever it is encoded: what may be kept, and turned into latents by `sample` at each visit. */
  moments(context: Context, pixels: Tensor4D): Tensor4D;
  /** Latents from moments, as the denoiser expects them. Noise belongs to the examples `ids`: context.draw('vae', id). */
  sample(context: Context, moments: Tensor4D, ids: readonly number[]): Tensor4D;
  /** Latents from pixels: `sample` of `moments`. No gradient goes back to pixels. */
  encode(context: Context, pixels: Tensor4D, ids: readonly number[]): Tensor4D;
  /** Pixels from latents. */
  decode(context: Context, latents: Tensor4D): Tensor4D;
}
