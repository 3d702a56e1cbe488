import type { Tensor3D, Tensor4D } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import {
  type Context,
  fail,
  type Inputs,
  MODEL,
  type Model,
  type ModelProvider,
  type Parameter,
  type Random,
  type Tensor,
  type TensorData,
  type Tensors,
  toHost,
} from '../../core/index.js';
import { type Files, readFile, readJson } from '../persist/formats/files.js';
import { readSafetensors, writeSafetensors } from '../persist/formats/safetensors.js';
import { remembered } from './clip/remembered.js';
import { type CLIPTextConfig, clipText } from './clip/text-encoder.js';
import { loadTokenizer, type Tokenizer } from './clip/tokenizer.js';
import { fileShape, makeParameters, toFile, type WeightSpec } from './layers/builder.js';
import { type NoiseConfig, type NoiseSchedule, noiseSchedule } from './stable-diffusion/noise-schedule.js';
import { type UNetConfig, unet2DCondition } from './unet/unet2d-condition.js';
import { type Codec, spaceToDepth } from './vae/codec.js';

/** A text-to-image diffusion model: text encoder, denoiser, codec and noise schedule. */
export interface TextToImage extends Model {
  readonly noise: NoiseSchedule;
  readonly codec: Codec;
  readonly tokenizer: Tokenizer;
  /** Channels of a latent, and its usual side. */
  readonly channels: number;
  readonly latentSize: number;
  /** Texts to states [n, tokens, width]. */
  encode(context: Context, texts: readonly string[]): Tensor3D;
  /** The denoiser's prediction for latents [n, h, w, c] at n timesteps. */
  predict(context: Context, latents: Tensor4D, timesteps: readonly number[], states: Tensor3D): Tensor4D;
  /** Writes diffusers' folder layout with these weights. */
  save(files: Files, parameters: Tensors, options?: { half?: boolean }): Promise<void>;
}

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

export interface TextToImageOptions {
  /** A folder in diffusers' layout, or the configurations of a new model. */
  readonly from: Files | FreshTextToImage;
  /** Which parts are trained; an adapter brings its own weights. */
  readonly train: 'nothing' | 'unet' | 'everything';
}

const WEIGHTS = { unet: 'unet/diffusion_pytorch_model.safetensors', text: 'text_encoder/model.safetensors' };

const isFiles = (from: Files | FreshTextToImage): from is Files => 'read' in from;

/** The model of the text-to-image presets, as a plugin. */
export const textToImageModel = (options: TextToImageOptions) =>
  ({
    name: 'text-to-image',
    fills: MODEL,
    build: (random: Random) => buildTextToImage(options, random),
  }) satisfies ModelProvider & { name: string; fills: typeof MODEL };

/** Reads or makes the model; every fault of a folder is an error that names file and option. */
export async function buildTextToImage({ from, train }: TextToImageOptions, random: Random): Promise<TextToImage> {
  const parts = isFiles(from)
    ? await readParts(from)
    : {
        unet: from.unet,
        text: from.textEncoder,
        tokenizer: from.tokenizer,
        noise: from.noise,
        block: from.block,
        unetTensors: undefined,
        textTensors: undefined,
      };
  const unet = unet2DCondition(parts.unet);
  const text = clipText(parts.text, 'text_encoder.', isFiles(from) ? {} : from.textStart);
  const noise = noiseSchedule(parts.noise);
  const { tokenizer } = parts;
  const codec = spaceToDepth(parts.block);
  const width = unet.config.cross_attention_dim;
  if (text.config.hidden_size !== (typeof width === 'number' ? width : width[0]))
    fail(
      'MODEL_PARTS_DIFFER',
      'text-to-image',
      `the text encoder is ${text.config.hidden_size} wide, the denoiser expects ${width}`,
      'Use parts of one model.',
    );
  if (tokenizer.size > text.config.vocab_size)
    fail(
      'MODEL_PARTS_DIFFER',
      'text-to-image',
      `the tokenizer has ${tokenizer.size} words, the text encoder ${text.config.vocab_size}`,
      'Use parts of one model.',
    );
  const where = isFiles(from) ? from.where : 'a new model';
  const parameters = new Map<string, Parameter>([
    ...makeParameters(unet.specs, {
      trainable: train !== 'nothing',
      group: 'unet',
      random,
      tensors: parts.unetTensors,
      where: `${where}/${WEIGHTS.unet}`,
    }),
    ...makeParameters(text.specs, {
      trainable: train === 'everything',
      group: 'text_encoder',
      random,
      tensors: parts.textTensors,
      where: `${where}/${WEIGHTS.text}`,
    }),
  ]);

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
    parameters,
    modules: new Map([...unet.modules, ...text.modules]),
    wraps: new Map(),
    noise,
    codec,
    tokenizer,
    channels: unet.config.in_channels,
    latentSize: typeof size === 'number' ? size : 64,
    encode,
    predict,
    forward(context: Context, inputs: Inputs): Tensor {
      const states = (inputs.states as Tensor3D | undefined) ?? encode(context, inputs.texts as string[]);
      return predict(context, inputs.latents as Tensor4D, inputs.timesteps as number[], states);
    },
    save: (files, weights, more) => save(files, weights, { unet, text, noise, tokenizer, parts }, more?.half ?? false),
  };
}

async function readParts(files: Files) {
  const index = await readJson(files, 'model_index.json');
  const codecName = (index.vae as [string, string] | undefined)?.[1];
  if (codecName && codecName !== 'SpaceToDepth')
    fail(
      'UNSUPPORTED_OPTION',
      'text-to-image',
      `${files.where}/model_index.json: the autoencoder ${codecName} is not supported`,
      'Use a model that works on pixels (SpaceToDepth, or no vae).',
    );
  const vae = codecName ? await readJson(files, 'vae/config.json') : {};
  const tensors = async (path: string, prefix: string) => {
    const raw = readSafetensors(await readFile(files, path), `${files.where}/${path}`).tensors;
    const named = new Map<string, TensorData>();
    for (const [name, value] of raw) {
      // Stable Diffusion 1.x writes text_model.embeddings..., transformers 5 embeddings...; position_ids is a constant.
      if (name.endsWith('position_ids')) continue;
      named.set(prefix + name.replace(/^text_model\./, ''), value);
    }
    return named;
  };
  return {
    unet: await readJson(files, 'unet/config.json'),
    text: await readJson(files, 'text_encoder/config.json'),
    tokenizer: await loadTokenizer(files),
    noise: (await readJson(files, 'scheduler/scheduler_config.json')) as NoiseConfig,
    block: Number(vae.block_size ?? 1),
    unetTensors: await tensors(WEIGHTS.unet, 'unet.'),
    textTensors: await tensors(WEIGHTS.text, 'text_encoder.'),
  };
}

async function save(
  files: Files,
  weights: Tensors,
  model: {
    unet: { specs: readonly WeightSpec[]; config: object };
    text: { specs: readonly WeightSpec[] };
    noise: NoiseSchedule;
    tokenizer: Tokenizer;
    parts: { block: number; text: object };
  },
  half: boolean,
): Promise<void> {
  const json = (value: object) => `${JSON.stringify(value, null, 2)}\n`;
  const collect = async (specs: readonly WeightSpec[], rename: (path: string) => string) => {
    const out: Record<string, TensorData> = {};
    for (const spec of specs) {
      const { data } = await toHost(weights[spec.path]);
      out[rename(spec.path)] = { dtype: 'float32', shape: fileShape(spec), data: toFile(data as Float32Array, spec) };
    }
    return writeSafetensors(out, { half });
  };
  const dtype = half ? 'float16' : 'float32';
  await files.write('unet/config.json', json({ _class_name: 'UNet2DConditionModel', _diffusers_version: '0.42.1', ...model.unet.config }));
  await files.write(WEIGHTS.unet, await collect(model.unet.specs, (p) => p.replace(/^unet\./, '')));
  await files.write(
    'text_encoder/config.json',
    // As it was given: transformers refuses 1 where it expects 1.0, and JSON here cannot tell them apart.
    json({
      architectures: ['CLIPTextModel'],
      model_type: 'clip_text_model',
      bos_token_id: 0,
      eos_token_id: 1,
      pad_token_id: 1,
      ...model.parts.text,
      dtype,
    }),
  );
  await files.write(WEIGHTS.text, await collect(model.text.specs, (p) => p.replace(/^text_encoder\./, 'text_model.')));
  await files.write(
    'scheduler/scheduler_config.json',
    json({ _class_name: 'DDIMScheduler', _diffusers_version: '0.42.1', ...model.noise.config }),
  );
  await files.write('vae/config.json', json({ _class_name: 'SpaceToDepth', block_size: model.parts.block }));
  await files.write(
    'model_index.json',
    json({
      _class_name: 'StableDiffusionPipeline',
      _diffusers_version: '0.42.1',
      scheduler: ['diffusers', 'DDIMScheduler'],
      text_encoder: ['transformers', 'CLIPTextModel'],
      tokenizer: ['steploom', 'Tokenizer'],
      unet: ['diffusers', 'UNet2DConditionModel'],
      vae: ['steploom', 'SpaceToDepth'],
    }),
  );
  await model.tokenizer.save(files);
}
