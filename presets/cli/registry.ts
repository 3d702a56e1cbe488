import type { z } from 'zod';
import type { Composition } from '../../core/index.js';
import { autoencoder, autoencoderOptions } from '../autoencoder.js';
import { dreamboothLora, dreamboothLoraOptions } from '../dreambooth-lora.js';
import { emoji, emojiOptions } from '../emoji.js';
import { emojiAutoencoder, emojiAutoencoderOptions } from '../emoji-autoencoder.js';
import { emojiBase, emojiBaseOptions } from '../emoji-base.js';
import { loraTextToImage, loraTextToImageOptions } from '../lora-text-to-image.js';
import { textToImage, textToImageOptions } from '../text-to-image.js';

/** A preset as the command line knows it. */
export interface Preset {
  readonly summary: string;
  readonly options: z.ZodObject;
  /** The training scripts of diffusers whose commands it takes. */
  readonly scripts?: readonly string[];
  make(options: never): Promise<Composition>;
}

export const PRESETS: Readonly<Record<string, Preset>> = {
  emoji: { summary: 'The main job: teach the emoji model another style with LoRA.', options: emojiOptions, make: emoji },
  'emoji-autoencoder': {
    summary: 'Train the autoencoder of the main job’s base model from nothing.',
    options: emojiAutoencoderOptions,
    make: emojiAutoencoder,
  },
  'emoji-base': { summary: 'Train the base model of the main job from nothing.', options: emojiBaseOptions, make: emojiBase },
  autoencoder: { summary: 'Train an autoencoder on a folder of images.', options: autoencoderOptions, make: autoencoder },
  'lora-text-to-image': {
    summary: 'Fine-tune a text-to-image model with LoRA on a folder of images.',
    options: loraTextToImageOptions,
    scripts: ['train_text_to_image_lora.py', 'train_text_to_image_lora_sdxl.py'],
    make: loraTextToImage,
  },
  'dreambooth-lora': {
    summary: 'Teach a text-to-image model one thing with LoRA, from some images of it.',
    options: dreamboothLoraOptions,
    scripts: ['train_dreambooth_lora.py'],
    make: dreamboothLora,
  },
  'text-to-image': { summary: 'Train a text-to-image model whole on a folder of images.', options: textToImageOptions, make: textToImage },
};
