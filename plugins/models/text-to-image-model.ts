import type { Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import {
  type Context,
  hashOfText,
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
import { stableDiffusion } from './stable-diffusion/families/stable-diffusion.js';
import { type Joined, joinComponents, parametersOf } from './stable-diffusion/join.js';
import type { NoiseConfig, NoiseSchedule } from './stable-diffusion/noise-schedule.js';
import { readComponents } from './stable-diffusion/read.js';
import { writeComponents } from './stable-diffusion/write.js';
import type { UNetConfig } from './unet/config.js';
import type { Codec } from './vae/codec.js';

/** What a denoiser is told of texts: states [n, tokens, width], and of some families a pooled state [n, width]. */
export interface TextConditions {
  readonly states: Tensor3D;
  readonly pooled?: Tensor2D;
}

/** A text-to-image diffusion model: text encoder, denoiser, codec and noise schedule. */
export interface TextToImage extends Model {
  /** What tells the weights that were read from others; `new` where none were. */
  readonly base: string;
  /** What tells its configurations and settings from others. */
  readonly configuration: string;
  readonly noise: NoiseSchedule;
  readonly codec: Codec;
  readonly tokenizer: Tokenizer;
  /** Channels of a latent, and its usual side. */
  readonly channels: number;
  readonly latentSize: number;
  /** The side of latents that the denoiser halves down to one pixel. */
  readonly leastSize: number;
  /** What the denoiser is told of texts; null is no text at all, which some families tell from an empty one. */
  encode(context: Context, texts: readonly (string | null)[]): TextConditions;
  /**
   * The denoiser's prediction for latents [n, h, w, c] at n timesteps. `timeIds` are six numbers a picture (see timeIds) for families that are told
   * sizes; without them, those of a picture that is just as large as the latents and was not cut.
   */
  predict(
    context: Context,
    latents: Tensor4D,
    timesteps: readonly number[],
    conditions: TextConditions,
    timeIds?: readonly (readonly number[])[],
  ): Tensor4D;
  /** Frees the device of the weights that steps do not need, where something keeps what they give. */
  leaveDevice?(): Promise<void>;
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
  /** Another autoencoder than the model's own: a model's folder, or an autoencoder's. */
  readonly vae?: Files;
  /** Layers at the end of text encoders that the states do not pass through, more than the family leaves out; 0 by default. */
  readonly clipSkip?: number;
}

/** The model of the text-to-image presets, as a plugin. */
export const textToImageModel = (options: TextToImageModelOptions) => {
  let found: Pick<TextToImage, 'base' | 'configuration'> | null = null;
  return {
    name: 'text-to-image-model',
    fills: MODEL,
    async build(random: Random) {
      const model = await buildTextToImage(options, random);
      found = model;
      return model;
    },
    // A run goes on from the model that it began with, wherever that stands.
    settings: () => ({ base: found?.base ?? '', configuration: found?.configuration ?? '', train: options.train }),
  } satisfies ModelProvider & { name: string; fills: typeof MODEL; settings(): Settings };
};

const isFiles = (from: Files | FreshTextToImage): from is Files => 'read' in from;

const componentsOf = ({ textEncoder, tokenizer, unet, noise, block, textStart }: FreshTextToImage): Components => ({
  where: 'a new model',
  family: stableDiffusion,
  unet: { config: unet },
  encoders: [{ config: textEncoder, tokenizer }],
  vae: { block },
  noise,
  ...(textStart ? { textStart } : {}),
});

/** A hash of all that says how the weights are used. */
const configurationOf = ({ unet, encoders, components, noise }: Joined, clipSkip: number): string =>
  hashOfText(
    JSON.stringify([
      unet.config,
      ...encoders.map(({ config }) => config),
      'config' in components.vae ? components.vae.config : components.vae,
      noise.config,
      clipSkip,
    ]),
  );

/** Reads or makes the model; every fault of a folder is an error that names file and option. */
export async function buildTextToImage({ from, train, vae, clipSkip = 0 }: TextToImageModelOptions, random: Random): Promise<TextToImage> {
  const joined = joinComponents(isFiles(from) ? await readComponents(from, vae ? { vae } : {}) : componentsOf(from));
  const { components, unet, encoders, noise, codec } = joined;
  const { family } = components;
  const trained = (network: string) => train === 'everything' || (train === 'unet' && network === 'unet');
  const { parameters, base } = await parametersOf(joined, trained, random);
  const { tokenizer } = components.encoders[0];
  const zeros =
    typeof components.index?.force_zeros_for_empty_prompt === 'boolean'
      ? components.index.force_zeros_for_empty_prompt
      : family.zerosForNoText;
  // Every epoch has the same texts.
  const idsOf = components.encoders.map(({ tokenizer }, i) => {
    const length = Math.min(tokenizer.length, encoders[i].config.max_position_embeddings);
    return remembered((one: string) => tokenizer.encode(one).subarray(0, length), 1 << 16);
  });
  const wanted = family.encoders.map(({ outputs: { skip = 0, ...more } }) => ({ ...more, skip: skip + clipSkip }));

  const encode: TextToImage['encode'] = (context, texts) => {
    const all = encoders.map((encoder, i) =>
      encoder.outputs(
        context,
        texts.map((text) => idsOf[i](text ?? '')),
        wanted[i],
      ),
    );
    const states =
      all.length === 1
        ? all[0].states
        : tf.concat(
            all.map((one) => one.states),
            2,
          );
    const pooled = all.find((one) => one.pooled)?.pooled;
    // No text at all.
    const shares = texts.map((text) => (text === null && zeros ? 0 : 1));
    const kept = (x: Tensor): Tensor =>
      shares.includes(0) ? x.mul(tf.tensor(shares, [texts.length, ...new Array(x.rank - 1).fill(1)])) : x;
    return { states: kept(states) as Tensor3D, ...(pooled ? { pooled: kept(pooled) as Tensor2D } : {}) };
  };

  const predict: TextToImage['predict'] = (context, latents, timesteps, { states, pooled }, timeIds) => {
    if (!family.sizes) return unet.forward(context, latents, timesteps, states) as Tensor4D;
    const [n, h, w] = latents.shape;
    const size = [h * codec.factor, w * codec.factor];
    const whole = () => new Array<number[]>(n).fill([...size, 0, 0, ...size]);
    return unet.forward(context, latents, timesteps, states, { pooled: pooled as Tensor2D, timeIds: timeIds ?? whole() }) as Tensor4D;
  };

  const size = unet.config.sample_size;
  return {
    base,
    configuration: configurationOf(joined, clipSkip),
    parameters,
    modules: new Map([...unet.modules, ...encoders.flatMap((encoder, i) => [...encoder.modulesFor(wanted[i])])]),
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
      const states = inputs.states as Tensor3D | undefined;
      const told = states ? { states } : encode(context, inputs.texts as string[]);
      return predict(context, inputs.latents as Tensor4D, inputs.timesteps as number[], told);
    },
    save: (files, weights, { half = false } = {}) => writeTogether(files, (into) => writeComponents(into, weights, joined, half)),
  };
}
