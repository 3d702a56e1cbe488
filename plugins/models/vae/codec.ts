import type { Context } from '../../../core/index.js';
import type { Tensor4D } from '../../../core/tf.js';

/** What stands between pixels and the denoiser: Stable Diffusion's autoencoder, or a rearrangement of pixels. All tensors are [n, h, w, channels]. */
export interface Codec {
  /** Pixels along one side of a latent. */
  readonly factor: number;
  /** Whether it is a network, whose work is worth keeping. */
  readonly isLearned: boolean;
  /** What an image gives whenever it is encoded: what may be kept, and turned into latents by `sample` at each visit. */
  moments(context: Context, pixels: Tensor4D): Tensor4D;
  /** Latents from moments, as the denoiser expects them. Noise belongs to the examples `ids`: context.draw('vae', id). */
  sample(context: Context, moments: Tensor4D, ids: readonly number[]): Tensor4D;
  /** Latents from pixels: `sample` of `moments`. No gradient goes back to pixels. */
  encode(context: Context, pixels: Tensor4D, ids: readonly number[]): Tensor4D;
  /** Pixels from latents. */
  decode(context: Context, latents: Tensor4D): Tensor4D;
}

/** Moves blocks of block x block pixels into channels; lossless, and so nothing is drawn. 1 leaves pixels as they are. */
export const spaceToDepth = (block: number): Codec => {
  // In rank 4, which every device can transpose: rows of blocks first, then the two inner axes change places.
  const encode = (x: Tensor4D): Tensor4D => {
    const [n, h, w, c] = x.shape;
    return x
      .reshape([(n * h) / block, block, w / block, block * c])
      .transpose([0, 2, 1, 3])
      .reshape([n, h / block, w / block, block * block * c]);
  };
  return {
    factor: block,
    isLearned: false,
    moments: (_, pixels) => encode(pixels),
    sample: (_, moments) => moments.clone(),
    encode: (_, pixels) => encode(pixels),
    decode: (_, x) => {
      const [n, h, w, c] = x.shape;
      return x
        .reshape([n * h, w, block, c / block])
        .transpose([0, 2, 1, 3])
        .reshape([n, h * block, w * block, c / (block * block)]);
    },
  };
};
