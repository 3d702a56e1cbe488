import { type Context, Hash, hashOfText, type Inputs, type Model, type Random, type Tensors } from '../../../core/index.js';
import type { Tensor4D } from '../../../core/tf.js';
import type { Files } from '../../persist/formats/files.js';
import { writeTogether } from '../../persist/formats/files.js';
import { writeSafetensorsTo } from '../../persist/formats/safetensors.js';
import { makeParameters } from '../layers/parameters.js';
import { weightsToWrite } from '../stable-diffusion/weights-to-write.js';
import { autoencoderKL, type LatentDistribution } from './autoencoder-kl.js';
import type { AutoencoderKLConfig } from './config.js';
import { readAutoencoderFolder } from './read-autoencoder.js';

/** An AutoencoderKL that is trained. Pixels are [n, h, w, 3] in [-1, 1]; latents [n, h / factor, w / factor, channels], before scaling. */
export interface Autoencoder extends Model {
  /** What tells the weights that were read from others; `new` where none were. */
  readonly base: string;
  /** What tells its config from others. */
  readonly configuration: string;
  /** Pixels along one side of a latent: sides are multiples of it. */
  readonly factor: number;
  /** Channels of a latent. */
  readonly channels: number;
  /** The side of the pictures it is made for, where its config says. */
  readonly usual: number | null;
  encode(context: Context, pixels: Tensor4D): LatentDistribution;
  decode(context: Context, latents: Tensor4D): Tensor4D;
  /** Writes config.json and weights into the folder's vae/, as diffusers has them; latents times `scaling` are what a denoiser is to be given. */
  save(files: Files, weights: Tensors, options: { readonly scaling: number; readonly half?: boolean }): Promise<void>;
}

export const isAutoencoder = (model: Model): model is Autoencoder => 'encode' in model && 'decode' in model && !('predict' in model);

/** The model of an autoencoder's folder (its own, or one with vae/), or a new one of a config.json. Its forward pass takes `images` there and back. */
export async function buildAutoencoder(from: Files | AutoencoderKLConfig, random: Random): Promise<Autoencoder> {
  const { config, tensors } = 'read' in from ? await readAutoencoderFolder(from) : { config: from, tensors: undefined };
  const { config: parsed, specs, modules, graphs, blocks, factor, trainable } = autoencoderKL(config);
  const hash = new Hash();
  const parameters = await makeParameters(specs, { trainable: true, group: 'vae', random, hash, ...(tensors ? { tensors } : {}) });
  const { sample_size: size } = config as { sample_size?: unknown };
  return {
    base: tensors ? hash.digest() : 'new',
    configuration: hashOfText(JSON.stringify(config)),
    parameters,
    modules,
    wraps: new Map(),
    blocks,
    graphs,
    factor,
    channels: parsed.latent_channels,
    usual: typeof size === 'number' ? size : null,
    ...trainable,
    forward: (context: Context, { images }: Inputs) => trainable.decode(context, trainable.encode(context, images as Tensor4D).mean),
    save: (files, weights, { scaling, half = false }) =>
      writeTogether(files, async (into) => {
        const whole = { _class_name: 'AutoencoderKL', _diffusers_version: '0.42.1', ...config, scaling_factor: scaling };
        await into.write('vae/config.json', `${JSON.stringify(whole, null, 2)}\n`);
        const written = weightsToWrite(weights, specs, (path) => path.slice('vae.'.length));
        await writeSafetensorsTo(into, 'vae/diffusion_pytorch_model.safetensors', written, { half });
      }),
  };
}
