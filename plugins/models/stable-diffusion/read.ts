import { z } from 'zod';
import { fail, type TensorData } from '../../../core/index.js';
import { type Files, readFile, readJson } from '../../persist/formats/files.js';
import { readSafetensors } from '../../persist/formats/safetensors.js';
import { loadTokenizer } from '../clip/tokenizer.js';
import { parseConfig } from '../layers/parse-config.js';
import { type Components, WEIGHTS } from './components.js';
import type { NoiseConfig } from './noise-schedule.js';

/** Finds and reads the components of a folder in diffusers' layout; every fault is an error that names file and option. */
export async function readComponents(files: Files): Promise<Components> {
  const index = await readJson(files, 'model_index.json');
  const codecName = (index.vae as [string, string] | undefined)?.[1];
  if (codecName && codecName !== 'SpaceToDepth')
    fail(
      'UNSUPPORTED_OPTION',
      'text-to-image-model',
      `${files.where}/model_index.json: the autoencoder ${codecName} is not supported`,
      'Use a model that works on pixels (SpaceToDepth, or no vae).',
    );
  const vae = codecName ? await readJson(files, 'vae/config.json') : {};
  return {
    where: files.where,
    unet: await readJson(files, 'unet/config.json'),
    text: await readJson(files, 'text_encoder/config.json'),
    tokenizer: await loadTokenizer(files),
    noise: (await readJson(files, 'scheduler/scheduler_config.json')) as NoiseConfig,
    block: parseConfig(
      z.object({ block_size: z.number().int().positive().max(64).default(1) }),
      vae,
      'text-to-image-model',
      'vae/config.json',
    ).block_size,
    tensors: {
      unet: await readWeights(files, WEIGHTS.unet, 'unet.'),
      text: await readWeights(files, WEIGHTS.text, 'text_encoder.'),
    },
  };
}

async function readWeights(files: Files, path: string, prefix: string): Promise<Map<string, TensorData>> {
  const named = new Map<string, TensorData>();
  for (const [name, value] of readSafetensors(await readFile(files, path), `${files.where}/${path}`).tensors) {
    // Stable Diffusion 1.x writes text_model.embeddings..., transformers 5 embeddings...; position_ids is a constant.
    if (name.endsWith('position_ids')) continue;
    named.set(prefix + name.replace(/^text_model\./, ''), value);
  }
  return named;
}
