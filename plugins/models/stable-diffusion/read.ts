import { z } from 'zod';
import { fail } from '../../../core/index.js';
import { type OpenComponentOptions, openComponent } from '../../persist/formats/component-weights.js';
import { type Files, readJson } from '../../persist/formats/files.js';
import { loadTokenizer } from '../clip/load-tokenizer.js';
import { parseConfig } from '../layers/parse-config.js';
import { type Components, type Network, weightsStem } from './components.js';
import { FAMILIES } from './families.js';
import type { Family } from './family.js';
import type { NoiseConfig, PredictionType } from './noise-schedule.js';

export interface ReadOptions extends OpenComponentOptions {
  /** Another model's folder, or an autoencoder's own, whose autoencoder is used in place of the model's. */
  readonly vae?: Files;
  /** What the denoiser predicts, where it is another thing than the files say, or they do not say it. */
  readonly predictionType?: PredictionType;
}

/** Finds and reads the components of a folder in diffusers' layout; every fault is an error that names file and option. */
export async function readComponents(files: Files, { vae: otherVae, predictionType, ...options }: ReadOptions = {}): Promise<Components> {
  const index = await readJson(files, 'model_index.json');
  const family = familyOf(index, files.where);
  const encoders: Components['encoders'][number][] = [];
  for (const { folder, tokenizer } of family.encoders)
    encoders.push({ ...(await readNetwork(files, folder, options)), tokenizer: await loadTokenizer(files, tokenizer) });
  return {
    where: files.where,
    family,
    unet: await readNetwork(files, 'unet', options),
    encoders,
    vae: otherVae ? await readAutoencoder(otherVae, options) : await readCodec(files, index, options),
    noise: {
      ...((await readJson(files, 'scheduler/scheduler_config.json')) as NoiseConfig),
      ...(predictionType ? { prediction_type: predictionType } : {}),
    },
    index,
  };
}

/** The family whose pipeline a model_index.json names; UNSUPPORTED_MODEL for others, by name. */
export function familyOf(index: Readonly<Record<string, unknown>>, where: string): Family {
  const name = index._class_name;
  const refuse = (what: string, fix: string): never => fail('UNSUPPORTED_MODEL', 'text-to-image-model', `${where} ${what}`, fix);
  const supported = `Use a model of ${FAMILIES.map((family) => family.name).join(', or ')}.`;
  if (typeof name !== 'string') return refuse('has a model_index.json without a _class_name', supported);
  if (name.includes('Inpaint')) return refuse(`is a model for inpainting (${name})`, 'Use the model that it was made from.');
  const family = FAMILIES.find(({ pipelines }) => pipelines.includes(name));
  if (!family) return refuse(`is a ${name}`, supported);
  const missing = family.encoders.find(({ folder }) => Array.isArray(index[folder]) && index[folder][1] === null);
  if (missing) return refuse(`has no ${missing.folder}: it is a refiner, or was saved in parts`, 'Use the base model, saved whole.');
  return family;
}

const blocks = z.object({ block_size: z.number().int().positive().max(64).default(1) });

/** The codec of a model's own folder: an autoencoder, or steploom's rearrangement of pixels; without any, the denoiser works on pixels. */
async function readCodec(
  files: Files,
  index: Readonly<Record<string, unknown>>,
  options: OpenComponentOptions,
): Promise<Components['vae']> {
  const name = (index.vae as readonly unknown[] | undefined)?.[1] ?? null;
  if (name === 'AutoencoderKL') return readNetwork(files, 'vae', options);
  if (name === 'SpaceToDepth')
    return { block: parseConfig(blocks, await readJson(files, 'vae/config.json'), 'text-to-image-model', 'vae/config.json').block_size };
  if (name === null) return { block: 1 };
  return fail(
    'UNSUPPORTED_MODEL',
    'text-to-image-model',
    `${files.where}/model_index.json: the autoencoder ${name} is not supported`,
    'AutoencoderKL is; so are models that work on pixels.',
  );
}

/** An autoencoder: what stands in the folder itself, or in its vae/. */
export const readAutoencoder = async (files: Files, options: OpenComponentOptions): Promise<Network> =>
  readNetwork(files, (await files.size('vae/config.json')) === null ? '' : 'vae', options);

/** One network's config.json and weights; `component` is its folder, '' where that is the place itself. */
async function readNetwork(files: Files, component: string, options: OpenComponentOptions): Promise<Network> {
  const config = await readJson(files, component === '' ? 'config.json' : `${component}/config.json`);
  const tensors = await openComponent(files, component, weightsStem(component), options);
  return { config, tensors: new Map([...tensors].map(([name, stored]) => [`${component || 'vae'}.${name}`, stored])) };
}
