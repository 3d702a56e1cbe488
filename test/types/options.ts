// The published option types are what the schemas take.

import type { AutoencoderOptions, autoencoderOptions } from 'steploom/presets/autoencoder';
import type { DreamboothLoraOptions, dreamboothLoraOptions } from 'steploom/presets/dreambooth-lora';
import type { EmojiOptions, emojiOptions } from 'steploom/presets/emoji';
import type { EmojiAutoencoderOptions, emojiAutoencoderOptions } from 'steploom/presets/emoji-autoencoder';
import type { EmojiBaseOptions, emojiBaseOptions } from 'steploom/presets/emoji-base';
import type { LoraTextToImageOptions, loraTextToImageOptions } from 'steploom/presets/lora-text-to-image';
import type { TextToImageOptions, textToImageOptions } from 'steploom/presets/text-to-image';
import type { z } from 'zod';

/** True where two types are the same, with what is optional and read-only. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Input<S extends z.ZodObject> = Readonly<z.input<S>>;

export const same: [
  Same<AutoencoderOptions, Input<typeof autoencoderOptions>>,
  Same<EmojiAutoencoderOptions, Input<typeof emojiAutoencoderOptions>>,
  Same<EmojiOptions, Input<typeof emojiOptions>>,
  Same<EmojiBaseOptions, Input<typeof emojiBaseOptions>>,
  Same<LoraTextToImageOptions, Input<typeof loraTextToImageOptions>>,
  Same<DreamboothLoraOptions, Input<typeof dreamboothLoraOptions>>,
  Same<TextToImageOptions, Input<typeof textToImageOptions>>,
] = [true, true, true, true, true, true, true];
