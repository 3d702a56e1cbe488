import { arrays } from '../../plugins/data/arrays.js';
import { splitWords } from '../../plugins/models/clip/tokenizer.js';
import type { Emoji } from './noto.js';

/** Width and height of the images, in pixels. */
export const SIDE = 32;

/** All words of all emoji's names, so that a caption the base was not trained on still has words. */
export const vocabulary = (all: readonly Emoji[]): string[] => [...new Set(all.flatMap(({ caption }) => splitWords(caption)))].sort();

/** Images in [-1, 1] and captions as DATA. */
export const emojiData = (emoji: readonly Emoji[], batchSize: number, style: (pixels: Float32Array) => Float32Array = (p) => p) => {
  const size = SIDE * SIDE * 3;
  const data = new Float32Array(emoji.length * size);
  for (const [i, { pixels }] of emoji.entries())
    data.set(
      style(pixels).map((x) => 2 * x - 1),
      i * size,
    );
  return arrays(
    { images: { dtype: 'float32', shape: [emoji.length, SIDE, SIDE, 3], data } },
    { batchSize, strings: { text: emoji.map((e) => e.caption) } },
  );
};

/** How many captions the style is taught on, and how many it is judged by. */
export const STYLE_SPLIT = { train: 64, held: 48 } as const;
