import { type Host, MODEL, type ModelProvider, type Random, type Settings } from '../../core/index.js';
import { operation } from '../devices/compute/contract.js';
import { buildTextToImage, type TextToImageModelOptions } from './stable-diffusion/build.js';
import { MIXED_PRECISIONS } from './stable-diffusion/half-precision.js';
import type { TextToImage } from './stable-diffusion/text-to-image.js';

export type { TextToImageModelOptions };

/** The model of the text-to-image presets, as a plugin. In half precision (`mixedPrecision: 'fp16'`) it needs lossScaling(), by which small gradients survive. */
export const textToImageModel = (options: TextToImageModelOptions) => {
  const { mixedPrecision = 'no' } = options;
  let found: Pick<TextToImage, 'base' | 'configuration'> | null = null;
  let note: (what: string) => void = () => undefined;
  return {
    name: 'text-to-image-model',
    fills: MODEL,
    requires: mixedPrecision === 'no' ? [] : ['loss-scaling'],
    apply({ hooks, warn, isFirstRank }: Host) {
      hooks.validate.tap((problems) => {
        problems.options('text-to-image-model').oneOf('mixedPrecision', mixedPrecision, MIXED_PRECISIONS);
      });
      note = (what) => {
        if (isFirstRank()) warn(what);
      };
    },
    async build(random: Random) {
      const model = await buildTextToImage({ note: (what) => note(what), ...options }, random);
      found = model;
      return model;
    },
    smaller: () => (mixedPrecision === 'no' && operation('precision') ? 'mixed precision (fp16)' : null),
    // A run goes on from the model that it began with, wherever that stands.
    settings: () => ({
      base: found?.base ?? '',
      configuration: found?.configuration ?? '',
      train: options.train,
      ...(mixedPrecision === 'no' ? {} : { mixedPrecision }),
    }),
  } satisfies ModelProvider & {
    name: string;
    fills: typeof MODEL;
    requires: readonly string[];
    apply(host: Host): void;
    settings(): Settings;
  };
};
