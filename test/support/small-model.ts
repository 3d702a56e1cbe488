import { emojiModel } from '../../presets/emoji/model.js';
import { tinyAutoencoder } from './pipelines.js';

/** Width and height of its pictures, in pixels. */
export const SIDE = 32;

/** The main job's base, narrower, on latents half as wide as its pictures, with a tokenizer of these words. */
export function smallModel(words: readonly string[], textLayers: number, rescaleZeroSnr = false) {
  const { unet, ...model } = emojiModel(words, tinyAutoencoder, SIDE / 2, textLayers, rescaleZeroSnr);
  return { ...model, unet: { ...unet, block_out_channels: [48, 64, 96] } };
}
