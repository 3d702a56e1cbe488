import { type Host, MODEL, type ModelProvider, type Random, type Settings } from '../../core/index.js';
import { buildTextToImage, type TextToImageModelOptions } from './stable-diffusion/build.js';
import type { TextToImage } from './stable-diffusion/text-to-image.js';

export type { TextToImageModelOptions };

/** The model of the text-to-image presets, as a plugin. */
export const textToImageModel = (options: TextToImageModelOptions) => {
  let found: Pick<TextToImage, 'base' | 'configuration'> | null = null;
  let note: (what: string) => void = () => undefined;
  return {
    name: 'text-to-image-model',
    fills: MODEL,
    apply({ warn, isFirstRank }: Host) {
      note = (what) => {
        if (isFirstRank()) warn(what);
      };
    },
    async build(random: Random) {
      const model = await buildTextToImage({ note: (what) => note(what), ...options }, random);
      found = model;
      return model;
    },
    // A run goes on from the model that it began with, wherever that stands.
    settings: () => ({ base: found?.base ?? '', configuration: found?.configuration ?? '', train: options.train }),
  } satisfies ModelProvider & { name: string; fills: typeof MODEL; apply(host: Host): void; settings(): Settings };
};
