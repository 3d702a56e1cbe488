import { fail } from '../../../core/index.js';
import { type Files, readJson } from '../../persist/formats/files.js';
import type { Family as PublishedName } from '../../persist/formats/lora/family.js';
import { loadTokenizer } from '../clip/load-tokenizer.js';
import { publishedTokenizer } from '../clip/published-tokenizer.js';
import type { Tokenizer } from '../clip/tokenizer.js';
import { FAMILIES } from './families.js';
import type { Family } from './family.js';
import type { NoiseConfig, PredictionType } from './noise-schedule.js';
import { publishedModel } from './published-model.js';

/** All that is said of a model beside its weights. */
export interface Configurations {
  readonly family: Family;
  /** The config.json of the denoiser, of each of the family's text encoders and of the autoencoder. */
  readonly unet: object;
  readonly encoders: readonly object[];
  readonly vae: object;
  /** As scheduler_config.json has it. */
  readonly noise: NoiseConfig;
  /** As model_index.json has it; of a single file there is none. */
  readonly index?: Readonly<Record<string, unknown>>;
  /** One for each text encoder; read when they are asked for. */
  tokenizers(): Promise<Tokenizer[]>;
}

/** What a folder in diffusers' layout says; every fault is an error that names file and option. */
export async function readConfigurations(files: Files): Promise<Configurations> {
  const index = await readJson(files, 'model_index.json');
  const family = familyOf(index, files.where);
  const encoders: object[] = [];
  for (const { folder } of family.encoders) encoders.push(await readJson(files, `${folder}/config.json`));
  return {
    family,
    unet: await readJson(files, 'unet/config.json'),
    encoders,
    vae: await readVae(files, index),
    noise: (await readJson(files, 'scheduler/scheduler_config.json')) as NoiseConfig,
    index,
    async tokenizers() {
      const found: Tokenizer[] = [];
      for (const { tokenizer } of family.encoders) found.push(await loadTokenizer(files, tokenizer));
      return found;
    },
  };
}

/** What the published model of a family says, of which a single file is. `predicts` decides its usual size, where there are two. */
export function publishedConfigurations(
  name: PublishedName,
  predicts: PredictionType,
  merges: () => Promise<readonly string[]>,
): Configurations {
  const { family, published } = publishedModel(name);
  // The Stable Diffusion 2 that predicts v is the one of 768 pixels.
  const size = name === 'sd2' && predicts === 'v_prediction' ? { sample_size: 96 } : {};
  return {
    family,
    unet: { ...published.unet, ...size },
    encoders: published.encoders,
    vae: published.vae,
    noise: { ...published.noise, prediction_type: predicts },
    async tokenizers() {
      const list = await merges();
      return published.paddings.map((padding) => publishedTokenizer(list, padding));
    },
  };
}

/** The family whose pipeline a model_index.json names; UNSUPPORTED_MODEL for others, by name. */
function familyOf(index: Readonly<Record<string, unknown>>, where: string): Family {
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

/** The config.json of a model's own autoencoder; UNSUPPORTED_MODEL, by name, where that is none of diffusers' AutoencoderKL. */
async function readVae(files: Files, index: Readonly<Record<string, unknown>>): Promise<object> {
  const name = (index.vae as readonly unknown[] | undefined)?.[1] ?? null;
  if (name === 'AutoencoderKL') return readJson(files, 'vae/config.json');
  return fail(
    'UNSUPPORTED_MODEL',
    'text-to-image-model',
    `${files.where}/model_index.json: ${name === null ? 'the model has no autoencoder' : `the autoencoder ${name} is not supported`}`,
    'Use a model that has an AutoencoderKL: the denoiser is to be trained on its latents.',
  );
}
