import type { Files } from '../../persist/formats/files.js';
import { parseUNetConfig } from '../unet/config.js';
import { parseAutoencoderKLConfig } from '../vae/config.js';
import { isBlock, readConfigurations } from './configurations.js';
import type { ReadOptions } from './read.js';
import { configurationsOfSingleFile, type SingleFileModel } from './single-file.js';

/** What a model's pictures are like. */
export interface PictureSizes {
  /** Pixels along one side of a latent: sides are multiples of it. */
  readonly factor: number;
  /** The side that the model was made for, in pixels; null where its files do not say. */
  readonly usual: number | null;
}

/** The sizes of a model's pictures by its configurations alone: no weights are read. */
export async function pictureSizes(from: Files | SingleFileModel, options: ReadOptions = {}): Promise<PictureSizes> {
  const { vae, unet } = 'merges' in from ? await configurationsOfSingleFile(from, options) : await readConfigurations(from);
  const factor = isBlock(vae) ? vae.block : 2 ** (parseAutoencoderKLConfig(vae).block_out_channels.length - 1);
  const { sample_size: size } = parseUNetConfig(unet);
  return { factor, usual: typeof size === 'number' ? size * factor : null };
}
