import { macrotask } from '../../core/index.js';
import { arrays } from '../../plugins/data/arrays.js';
import type { Pictures } from '../../plugins/data/cached-latents.js';
import { sha256 } from '../../plugins/persist/formats/sha256.js';
import type { Emoji } from './noto.js';

/** Pictures [side, side, 3] in [-1, 1], drawn when they are opened, and captions as DATA. `style` makes pixels in [0, 1] of pixels in [0, 1]. */
export function emojiData(
  emoji: readonly Emoji[],
  side: number,
  batchSize: number,
  style: (pixels: Float32Array) => Float32Array = (pixels) => pixels,
): Pictures {
  const size = side * side * 3;
  const data = new Float32Array(emoji.length * size);
  const images = { dtype: 'float32' as const, shape: [emoji.length, side, side, 3], data };
  const plugin = arrays({ images }, { batchSize, strings: { text: emoji.map((one) => one.caption) } });
  return {
    ...plugin,
    async open() {
      for (const [i, one] of emoji.entries()) {
        data.set(
          style(one.draw()).map((x) => 2 * x - 1),
          i * size,
        );
        // Lets signals in.
        await macrotask();
      }
      const source = await plugin.open();
      return {
        ...source,
        nameOf: (id) => emoji[id].name,
        captionAt: (id) => emoji[id].caption,
        captionsVary: false,
        // Each is shown in one way: its latents can be kept.
        shown: () => 0,
        views: async (id) => {
          const { buffer } = data.slice(id * size, (id + 1) * size);
          return [{ key: await sha256(new Uint8Array(buffer)), load: () => source.load([id], { epoch: 0, upcoming: [] }) }];
        },
      };
    },
  };
}

/** How many captions the style is taught on, and how many it is judged by. */
export const STYLE_SPLIT = { train: 64, held: 48 } as const;
