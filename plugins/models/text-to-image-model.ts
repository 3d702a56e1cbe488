import type { Tensor3D, Tensor4D } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import {
  type Context,
  hashOf,
  type Inputs,
  MODEL,
  type Model,
  type ModelProvider,
  type Random,
  type Settings,
  type Tensor,
  type Tensors,
} from '../../core/index.js';
import { type Files, writeTogether } from '../persist/formats/files.js';
import type { CLIPTextConfig } from './clip/text-encoder.js';
import type { Tokenizer } from './clip/tokenizer.js';
import { remembered } from './layers/remembered.js';
import type { Components } from './stable-diffusion/components.js';
import { joinComponents, parametersOf } from './stable-diffusion/join.js';
import type { NoiseConfig, NoiseSchedule } from './stable-diffusion/noise-schedule.js';
import { readComponents } from './stable-diffusion/read.js';
import { writeComponents } from './stable-diffusion/write.js';
import type { UNetConfig } from './unet/config.js';
import type { Codec } from './vae/codec.js';

/** A text-to-image diffusion model: text encoder, denoiser, codec and noise schedule. */
export interface TextToImage extends Model {
  /** What tells the weights that were read from others; `new` where none were. */
  readonly base: string;
  readonly noise: NoiseSchedule;
  readonly codec: Codec;
  readonly tokenizer: Tokenizer;
  /** Channels of a latent, and its usual side. */
  readonly channels: number;
  readonly latentSize: number;
  /** The side of latents that the denoiser halves down to one pixel. */
  readonly leastSize: number;
  /** Texts to states [n, tokens, width]. */
  encode(context: Context, texts: readonly string[]): Tensor3D;
  /** The denoiser's prediction for latents [n, h, w, c] at n timesteps. */
  predict(context: Context, latents: Tensor4D, timesteps: readonly number[], states: Tensor3D): Tensor4D;
  /** Writes diffusers' folder layout with these weights: all of it, or what was there stays. */
  save(files: Files, parameters: Tensors, options?: { half?: boolean }): Promise<void>;
}

/** A model that the denoising objective and the samplers can work with. */
export const isTextToImage = (model: Model): model is TextToImage => 'predict' in model && 'noise' in model;

export interface FreshTextToImage {
  readonly unet: UNetConfig;
  readonly textEncoder: CLIPTextConfig;
  /** Standard deviations the embeddings start with. */
  readonly textStart?: { readonly token?: number; readonly position?: number };
  readonly tokenizer: Tokenizer;
  readonly noise: NoiseConfig;
  /** Side of a block of pixels that becomes one latent pixel. */
  readonly block: number;
}

export interface TextToImageModelOptions {
  /** A folder in diffusers' layout, or the configurations of a new model. */
  readonly from: Files | FreshTextToImage;
  /** Which components are trained; an adapter's weights are trained in any case. */
  readonly train: 'nothing' | 'unet' | 'everything';
}

/** The model of the text-to-image presets, as a plugin. */
export const textToImageModel = (options: TextToImageModelOptions) => {
  let base = '';
  return {
    name: 'text-to-image-model',
    fills: MODEL,
    async build(random: Random) {
      const model = await buildTextToImage(options, random);
      base = model.base;
      return model;
    },
    // A run goes on from the model that it began with, wherever that stands.
    settings: () => ({ base, train: options.train }),
  } satisfies ModelProvider & { name: string; fills: typeof MODEL; settings(): Settings };
};

const isFiles = (from: Files | FreshTextToImage): from is Files => 'read' in from;

const componentsOf = ({ textEncoder: text, ...from }: FreshTextToImage): Components => ({ ...from, text, where: 'a new model' });

/** A hash of the weights that were read; of a new model none, which the seed decides. */
const contentOf = ({ tensors }: Components): string =>
  tensors ? hashOf(...[...tensors.unet.values(), ...tensors.text.values()].map(({ data }) => data)) : 'new';

/** Reads or makes the model; every fault of a folder is an error that names file and option. */
export async function buildTextToImage({ from, train }: TextToImageModelOptions, random: Random): Promise<TextToImage> {
  const joined = joinComponents(isFiles(from) ? await readComponents(from) : componentsOf(from));
  const { components, unet, text, noise, codec } = joined;
  const { tokenizer } = components;
  // Every epoch has the same texts.
  const idsOf = remembered((one: string) => tokenizer.encode(one), 1 << 16);
  const encode: TextToImage['encode'] = (context, texts) => {
    const length = Math.min(tokenizer.length, text.config.max_position_embeddings);
    const ids = new Int32Array(texts.length * length);
    for (const [i, one] of texts.entries()) ids.set(idsOf(one).subarray(0, length), i * length);
    return text.forward(context, tf.tensor2d(ids, [texts.length, length], 'int32')) as Tensor3D;
  };
  const predict: TextToImage['predict'] = (context, latents, timesteps, states) =>
    unet.forward(context, latents, timesteps, states) as Tensor4D;
  const size = unet.config.sample_size;
  return {
    base: contentOf(components),
    parameters: parametersOf(joined, { unet: train !== 'nothing', text: train === 'everything' }, random),
    modules: new Map([...unet.modules, ...text.modules]),
    wraps: new Map(),
    noise,
    codec,
    tokenizer,
    channels: unet.config.in_channels,
    leastSize: 2 ** (unet.config.block_out_channels.length - 1),
    latentSize: typeof size === 'number' ? size : 64,
    encode,
    predict,
    forward(context: Context, inputs: Inputs): Tensor {
      const states = (inputs.states as Tensor3D | undefined) ?? encode(context, inputs.texts as string[]);
      return predict(context, inputs.latents as Tensor4D, inputs.timesteps as number[], states);
    },
    save: (files, weights, { half = false } = {}) => writeTogether(files, (into) => writeComponents(into, weights, joined, half)),
  };
}
