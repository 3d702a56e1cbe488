import { type Context, hashOf, hashOfText, type Inputs, type Random, type Tensor } from '../../../core/index.js';
import type { Tensor2D, Tensor3D, Tensor4D } from '../../../core/tf.js';
import { inFull, inHalf } from '../../devices/compute/half.js';
import { type Files, inMemory, writeTogether } from '../../persist/formats/files.js';
import type { CLIPTextConfig } from '../clip/text-encoder.js';
import type { Tokenizer } from '../clip/tokenizer.js';
import type { UNetConfig } from '../unet/config.js';
import { readAutoencoderFolder } from '../vae/read-autoencoder.js';
import type { Components } from './components.js';
import { outputsOf, textEncoding } from './encode-texts.js';
import { family as stableDiffusion } from './families/stable-diffusion.js';
import { halfWraps, type MixedPrecision, requireHalf } from './half-precision.js';
import { type Joined, joinComponents, parametersOf } from './join.js';
import type { NoiseConfig } from './noise-schedule.js';
import { type ReadOptions, readComponents } from './read.js';
import { readSingleFile, type SingleFileModel } from './single-file.js';
import type { TextToImage } from './text-to-image.js';
import { leftOut, writeComponents } from './write.js';
import { writeSingleFile } from './write-single-file.js';

/** A new model, on the latents of an autoencoder that there is. */
export interface FreshTextToImage {
  readonly unet: UNetConfig;
  readonly textEncoder: CLIPTextConfig;
  /** Standard deviations the embeddings start with. */
  readonly textStart?: { readonly token?: number; readonly position?: number };
  readonly tokenizer: Tokenizer;
  readonly noise: NoiseConfig;
  /** The folder of an autoencoder, its own or one with vae/. */
  readonly vae: Files;
}

export interface TextToImageModelOptions extends ReadOptions {
  /** A folder in diffusers' layout, one file with all of it, or the configurations of a new model. */
  readonly from: Files | SingleFileModel | FreshTextToImage;
  /** Which components are trained; an adapter's weights are trained in any case. */
  readonly train: 'nothing' | 'unet' | 'everything';
  /** Layers at the end of text encoders that the states do not pass through, more than the family leaves out; 0 by default. */
  readonly clipSkip?: number;
  /** What becomes of texts that are longer than the encoders take: cut, the default, or encoded in pieces whose states are joined. */
  readonly longCaptions?: 'cut' | 'chunk';
  /**
   * `fp16` stores the frozen weights of denoiser and text encoders, and what goes through these networks, in half precision; what is trained, its
   * gradients, sums and the autoencoder stay in single precision. On webgpu, tfjs-node and tfjs-node-gpu. `no` by default.
   */
  readonly mixedPrecision?: MixedPrecision;
}

const componentsOf = async (fresh: FreshTextToImage): Promise<Components> => ({
  where: 'a new model',
  family: stableDiffusion,
  unet: { config: fresh.unet },
  encoders: [{ config: fresh.textEncoder, tokenizer: fresh.tokenizer }],
  vae: await readAutoencoderFolder(fresh.vae),
  noise: fresh.noise,
  ...(fresh.textStart ? { textStart: fresh.textStart } : {}),
});

/** Reads what there is to read. */
const componentsFrom = async (from: TextToImageModelOptions['from'], options: ReadOptions): Promise<Components> => {
  if ('merges' in from) return readSingleFile(from, options);
  return 'read' in from ? readComponents(from, options) : componentsOf(from);
};

/** A hash of all that says how the weights are used, and which numbers words have. */
async function configurationOf({ unet, encoders, components, noise }: Joined, settings: readonly (string | number)[]): Promise<string> {
  const words = new Map<string, Uint8Array>();
  for (const [i, { tokenizer }] of components.encoders.entries()) await tokenizer.save(inMemory(words), String(i));
  return hashOfText(
    JSON.stringify([
      [...words.values()].map((bytes) => hashOf(bytes)),
      unet.config,
      ...encoders.map(({ config }) => config),
      components.vae.config,
      noise.config,
      ...settings,
    ]),
  );
}

/** Reads or makes the model; every fault of a folder is an error that names file and option. */
export async function buildTextToImage(options: TextToImageModelOptions, random: Random): Promise<TextToImage> {
  const { from, train, clipSkip = 0, longCaptions = 'cut' } = options;
  const half = options.mixedPrecision === 'fp16';
  if (half) requireHalf();
  const joined = joinComponents(await componentsFrom(from, options));
  const { components, unet, encoders, noise, codec } = joined;
  const { family } = components;
  const outputs = outputsOf(family, clipSkip);
  // What nothing depends on (the last layer of an encoder whose penultimate states are taken) would get no gradient.
  const isIdle = (network: string, path: string) => {
    const i = family.encoders.findIndex(({ folder }) => folder === network);
    return i >= 0 && encoders[i].isIdle(path, outputs[i]);
  };
  const trained = (network: string, path: string) =>
    (train === 'everything' && !isIdle(network, path)) || (train === 'unet' && network === 'unet');
  const { parameters, base } = await parametersOf(joined, trained, random, half);
  const { tokenizer } = components.encoders[0];
  // Both give single precision, in whichever they compute.
  const encoded = textEncoding(joined, { clipSkip, longCaptions });
  const encode: TextToImage['encode'] = (context, texts) => {
    const { states, pooled } = encoded(context, texts);
    return { states: inFull(states) as Tensor3D, ...(pooled ? { pooled: inFull(pooled) as Tensor2D } : {}) };
  };
  const predict: TextToImage['predict'] = (context, latents, timesteps, conditions, timeIds) => {
    const states = half ? inHalf(conditions.states) : conditions.states;
    if (!family.sizes) return inFull(unet.forward(context, latents, timesteps, states)) as Tensor4D;
    const [n, h, w] = latents.shape;
    const size = [h * codec.factor, w * codec.factor];
    const whole = () => new Array<number[]>(n).fill([...size, 0, 0, ...size]);
    const added = { pooled: conditions.pooled as Tensor2D, timeIds: timeIds ?? whole() };
    return inFull(unet.forward(context, latents, timesteps, states, added)) as Tensor4D;
  };

  const size = unet.config.sample_size;
  return {
    base,
    configuration: await configurationOf(joined, [clipSkip, longCaptions]),
    parameters,
    modules: new Map([...unet.modules, ...encoders.flatMap((encoder, i) => [...encoder.modulesFor(outputs[i])])]),
    wraps: half ? halfWraps(joined) : new Map(),
    mixedPrecision: half ? 'fp16' : 'no',
    blocks: new Set([...unet.blocks, ...encoders.flatMap(({ blocks }) => [...blocks])]),
    graphs: unet.graphs,
    noise,
    codec,
    tokenizer: {
      ...tokenizer,
      // What is past the length of any: tokenizers of one model may make more or fewer tokens of a text.
      lost: (text) => ({
        unknown: tokenizer.lost(text).unknown,
        beyond: longCaptions === 'chunk' ? 0 : Math.max(...components.encoders.map((one) => one.tokenizer.lost(text).beyond)),
      }),
    },
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
    saveSingleFile: (files, path, weights, { half = false } = {}) =>
      writeSingleFile(files, path, weights, joined, { half, ...(options.note ? { note: options.note } : {}) }),
    async save(files, weights, { half = false } = {}) {
      await writeTogether(files, (into) => writeComponents(into, weights, joined, half));
      const missing = leftOut(joined);
      if (missing.length > 0)
        options.note?.(
          `${files.where} is without ${missing.join(' and ')} of ${components.where}, which draw nothing: copy them if you want them`,
        );
    },
  };
}
