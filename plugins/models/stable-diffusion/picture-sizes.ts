import { type Files, readJson } from '../../persist/formats/files.js';
import { openSingleFile } from '../../persist/formats/single-file/read.js';
import { parseUNetConfig } from '../unet/config.js';
import { parseAutoencoderKLConfig } from '../vae/config.js';
import { publishedModel } from './published-model.js';
import type { SingleFileModel } from './single-file.js';

/** What a model's pictures are like. */
export interface PictureSizes {
  /** Pixels along one side of a latent: sides are multiples of it. */
  readonly factor: number;
  /** The side that the model was made for, in pixels; null where its files do not say. */
  readonly usual: number | null;
}

/** The sizes of a model's pictures by its configurations alone: no weights are read. */
export async function pictureSizes(from: Files | SingleFileModel): Promise<PictureSizes> {
  if ('merges' in from) {
    const { family } = await openSingleFile(from.files, from.path);
    const { vae, unet } = publishedModel(family).published;
    return sizesOf(vae, unet);
  }
  const codec = (await from.size('vae/config.json')) === null ? { block_size: 1 } : await readJson(from, 'vae/config.json');
  return sizesOf(codec, await readJson(from, 'unet/config.json'));
}

function sizesOf(codec: object, unet: object): PictureSizes {
  const { block_size: block } = codec as { block_size?: number };
  const factor = block ?? 2 ** (parseAutoencoderKLConfig(codec).block_out_channels.length - 1);
  const { sample_size: size } = parseUNetConfig(unet);
  return { factor, usual: typeof size === 'number' ? size * factor : null };
}
