export { type EmojiOptions, emoji } from './emoji/emoji.js';
export { type EmojiBaseOptions, emojiBase } from './emoji/emoji-base.js';
export * from './index.browser.js';
export { type LoraTextToImageOptions, loraTextToImage } from './lora-text-to-image.js';
export { emojiBaseFolder } from './package-root.js';
export { type TextToImageOptions, textToImage } from './text-to-image.js';
