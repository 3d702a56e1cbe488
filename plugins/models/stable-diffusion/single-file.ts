import { fail } from '../../../core/index.js';
import type { Files } from '../../persist/formats/files.js';
import { openSingleFile } from '../../persist/formats/single-file/read.js';
import type { StoredTensors } from '../../persist/formats/stored-tensors.js';
import { publishedTokenizer } from '../clip/published-tokenizer.js';
import type { Components, Network } from './components.js';
import type { PredictionType } from './noise-schedule.js';
import { publishedModel } from './published-model.js';
import { type ReadOptions, readAutoencoder } from './read.js';

/** A model in one .safetensors file, under CompVis's or Stability's names. */
export interface SingleFileModel {
  readonly files: Files;
  /** Where it stands in `files`. */
  readonly path: string;
  /** The merges of CLIP's tokenizer, which no such file has. */
  merges(): Promise<readonly string[]>;
}

/**
 * The components of a single file. What it leaves out is as in the published model of its family. What a model of Stable Diffusion 2 predicts cannot be seen: OPTION_MISSING
 * where neither the file nor `predictionType` says it.
 */
export async function readSingleFile(
  { files, path, merges }: SingleFileModel,
  { vae: otherVae, predictionType, ...options }: ReadOptions = {},
): Promise<Components> {
  const where = `${files.where}/${path}`;
  const { family: name, unet, vae, encoders, predictsV, zeroSnr } = await openSingleFile(files, path, options);
  const { family, published } = publishedModel(name);
  const network = (config: object, tensors: StoredTensors, folder: string): Network => ({
    config,
    tensors: new Map([...tensors].map(([tensor, stored]) => [`${folder}.${tensor}`, stored])),
  });
  const predicts: PredictionType | undefined = predictionType ?? (predictsV ? 'v_prediction' : name === 'sd2' ? undefined : 'epsilon');
  if (predicts === undefined)
    return fail(
      'OPTION_MISSING',
      'text-to-image-model',
      `${where} is a Stable Diffusion 2, and does not say what it predicts`,
      'Give predictionType: v_prediction for those of 768 pixels, epsilon for those of 512.',
    );
  if (!otherVae && vae.size === 0)
    fail('FILE_MISSING', 'text-to-image-model', `${where} has no autoencoder`, 'Give another model’s (pretrainedVaeModelNameOrPath).');
  const list = await merges();
  // The one that predicts v is the one of 768 pixels.
  const size = name === 'sd2' && predicts === 'v_prediction' ? { sample_size: 96 } : {};
  return {
    where,
    family,
    unet: network({ ...published.unet, ...size }, unet, 'unet'),
    encoders: family.encoders.map(({ folder }, i) => ({
      ...network(published.encoders[i], encoders[i], folder),
      tokenizer: publishedTokenizer(list, published.paddings[i]),
    })),
    vae: otherVae ? await readAutoencoder(otherVae, options) : network(published.vae, vae, 'vae'),
    noise: { ...published.noise, prediction_type: predicts, ...(zeroSnr ? { rescale_betas_zero_snr: true } : {}) },
  };
}
