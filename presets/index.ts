export { type AutoencoderOptions, autoencoder } from './autoencoder.js';
export { emojiBaseFolder } from './common/package-root.js';
export { type DreamboothLoraOptions, dreamboothLora } from './dreambooth-lora.js';
export { type EmojiOptions, emoji } from './emoji.js';
export { type EmojiAutoencoderOptions, emojiAutoencoder } from './emoji-autoencoder.js';
export { type EmojiBaseOptions, emojiBase } from './emoji-base.js';
export * from './index.browser.js';
export { type LoraTextToImageOptions, loraTextToImage } from './lora-text-to-image.js';
export { type TextToImageOptions, textToImage } from './text-to-image.js';
