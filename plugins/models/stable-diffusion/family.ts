import type { Family as PublishedName } from '../../persist/formats/lora/family.js';
import type { TextOutputOptions } from '../clip/text-encoder.js';
import type { NoiseConfig } from './noise-schedule.js';

/** A text encoder of a family: where it stands, and which of its states the denoiser is given. */
export interface EncoderFacts {
  /** Its folder, by which its weights are named too; and its tokenizer's. */
  readonly folder: string;
  readonly tokenizer: string;
  /** transformers' class of it. */
  readonly kind: 'CLIPTextModel' | 'CLIPTextModelWithProjection';
  readonly outputs: TextOutputOptions;
}

/** What the configurations of a published model say, from which nearly all others are made: single files and adapters leave it out. */
export interface PublishedModel {
  readonly unet: object;
  /** One for each text encoder of the family. */
  readonly encoders: readonly object[];
  /** What their tokenizers fill texts up with. */
  readonly paddings: readonly string[];
  readonly vae: object;
  readonly noise: NoiseConfig;
}

/** Models that are made of the same parts, joined in the same way. */
export interface Family {
  /** As people call it. */
  readonly name: string;
  /** The pipelines of diffusers, as model_index.json names them, that are made of these parts. */
  readonly pipelines: readonly string[];
  /** In the order in which their states are joined, along the last axis. The pooled state is the one's that is asked for it. */
  readonly encoders: readonly [EncoderFacts, ...EncoderFacts[]];
  /** Whether the denoiser is also told the sizes of pictures (time ids). */
  readonly sizes: boolean;
  /** Whether zeros stand for no text at all; model_index.json may say otherwise (force_zeros_for_empty_prompt). */
  readonly zerosForNoText: boolean;
  readonly published: Readonly<Partial<Record<PublishedName, PublishedModel>>>;
}
