import type { Tensor4D } from '@tensorflow/tfjs';

/** What stands between pixels and the denoiser, where Stable Diffusion has its autoencoder: [n, h, w, c] both ways. */
export interface Codec {
  /** Pixels along one side of a latent. */
  readonly factor: number;
  encode(pixels: Tensor4D): Tensor4D;
  decode(latents: Tensor4D): Tensor4D;
}

/** Moves blocks of block x block pixels into channels; lossless. 1 leaves pixels as they are. */
export const spaceToDepth = (block: number): Codec => ({
  factor: block,
  // In rank 4, which every device can transpose: rows of blocks first, then the two inner axes change places.
  encode: (x) => {
    const [n, h, w, c] = x.shape;
    return x
      .reshape([(n * h) / block, block, w / block, block * c])
      .transpose([0, 2, 1, 3])
      .reshape([n, h / block, w / block, block * block * c]);
  },
  decode: (x) => {
    const [n, h, w, c] = x.shape;
    return x
      .reshape([n * h, w, block, c / block])
      .transpose([0, 2, 1, 3])
      .reshape([n, h * block, w * block, c / (block * block)]);
  },
});
