import type { Files } from '../../persist/formats/files.js';
import { parseUNetConfig } from '../unet/config.js';
import { parseAutoencoderKLConfig } from '../vae/config.js';
import { configurationsFrom } from './configurations-from.js';
import type { ReadOptions } from './read.js';
import type { SingleFileModel } from './single-file.js';

/** What a model's pictures are like. */
export interface PictureSizes {
  /** Pixels along one side of a latent: sides are multiples of it. */
  readonly factor: number;
  /** What the denoiser halves down to one latent, in pixels: sides of pictures that are no squares are multiples of it. */
  readonly unit: number;
  /** The side that the model was made for, in pixels; null where its files do not say. */
  readonly usual: number | null;
}

/** The sizes of a model's pictures by its configurations alone: no weights are read. */
export async function pictureSizes(from: Files | SingleFileModel, options: ReadOptions = {}): Promise<PictureSizes> {
  const { vae, unet } = await configurationsFrom(from, options);
  const factor = 2 ** (parseAutoencoderKLConfig(vae).block_out_channels.length - 1);
  const { sample_size: size, block_out_channels: levels } = parseUNetConfig(unet);
  return { factor, unit: factor * 2 ** (levels.length - 1), usual: typeof size === 'number' ? size * factor : null };
}
