import { type OpenComponentOptions, openComponent } from '../../persist/formats/component-weights.js';
import type { Files } from '../../persist/formats/files.js';
import { openVaeFile } from '../../persist/formats/single-file/read.js';
import type { StoredTensors } from '../../persist/formats/stored-tensors.js';
import { readAutoencoderFolder } from '../vae/read-autoencoder.js';
import { type Components, type Network, weightsStem } from './components.js';
import { type Configurations, readConfigurations } from './configurations.js';
import type { PredictionType } from './noise-schedule.js';

/** A file of a place. */
export interface FileOf {
  readonly files: Files;
  readonly path: string;
}

export interface ReadOptions extends OpenComponentOptions {
  /** Another autoencoder than the model's own: a model's folder, an autoencoder's, or its .safetensors file, which is used as the model's own config says. */
  readonly vae?: Files | FileOf;
  /** What the denoiser predicts, where it is another thing than the files say, or they do not say it. */
  readonly predictionType?: PredictionType;
}

/** Reads the components of a folder in diffusers' layout; every fault is an error that names file and option. */
export async function readComponents(files: Files, options: ReadOptions = {}): Promise<Components> {
  const configurations = await readConfigurations(files);
  const { prediction_type: told, clip_sample: clips } = configurations.noise;
  const { predictionType: predicts, note } = options;
  if (predicts && told && told !== predicts) note?.(`${files.where} says that it predicts ${told}: ${predicts} is used, as is asked for`);
  if (clips && !configurations.family.sizes)
    note?.(`${files.where} says that latents are clipped (clip_sample): they are not, as diffusers' pipeline of this family has it`);
  const weights = (component: string) => openComponent(files, component, weightsStem(component), options);
  return assemble(files.where, predicts ? withPrediction(configurations, predicts) : configurations, weights, options);
}

/** Configurations that say what is predicted. */
const withPrediction = (configurations: Configurations, predicts: PredictionType): Configurations => ({
  ...configurations,
  noise: { ...configurations.noise, prediction_type: predicts },
});

/** The components of a model, of its configurations and of the weights of each. */
export async function assemble(
  where: string,
  { tokenizers, ...said }: Configurations,
  weights: (component: string) => Promise<StoredTensors> | StoredTensors,
  options: ReadOptions,
): Promise<Components> {
  const network = async (component: string, config: object): Promise<Network> => named(component, config, await weights(component));
  const words = await tokenizers();
  const encoders: Components['encoders'][number][] = [];
  for (const [i, { folder }] of said.family.encoders.entries())
    encoders.push({ ...(await network(folder, said.encoders[i])), tokenizer: words[i] });
  return {
    where,
    family: said.family,
    unet: await network('unet', said.unet),
    encoders,
    vae: options.vae ? await readAutoencoder(options.vae, said.vae, options) : await network('vae', said.vae),
    noise: said.noise,
    ...(said.index ? { index: said.index } : {}),
  };
}

const named = (component: string, config: object, tensors: StoredTensors): Network => ({
  config,
  tensors: new Map([...tensors].map(([name, stored]) => [`${component}.${name}`, stored])),
});

/** An autoencoder: a folder's; or a file's, which has no configuration beside it and is taken for one like `own`. */
async function readAutoencoder(from: Files | FileOf, own: object, options: OpenComponentOptions): Promise<Network> {
  if ('path' in from) return named('vae', own, await openVaeFile(from.files, from.path));
  return readAutoencoderFolder(from, options);
}
