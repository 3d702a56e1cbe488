import type { Context, Model, Tensors } from '../../../core/index.js';
import type { Tensor2D, Tensor3D, Tensor4D } from '../../../core/tf.js';
import type { Files } from '../../persist/formats/files.js';
import type { Tokenizer } from '../clip/tokenizer.js';
import type { Codec } from '../vae/codec.js';
import type { MixedPrecision } from './half-precision.js';
import type { NoiseSchedule } from './noise-schedule.js';

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
  readonly mixedPrecision: MixedPrecision;
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
  /** Writes them into one file of CompVis's form (of Stability's for SDXL); UNSUPPORTED_MODEL where there is none for such a model. */
  saveSingleFile(files: Files, path: string, parameters: Tensors, options?: { half?: boolean }): Promise<void>;
}

/** A model that the denoising objective and the samplers can work with. */
export const isTextToImage = (model: Model): model is TextToImage => 'predict' in model && 'noise' in model;
