import { z } from 'zod';
import { type Composition, compose } from '../core/index.js';
import { ATTENTION_TARGETS, lora, TEXT_ATTENTION_TARGETS } from '../plugins/adapters/lora.js';
import { textToImageModel } from '../plugins/models/text-to-image-model.js';
import { saveLora } from '../plugins/persist/save-lora.js';
import { diffusionPlugins } from './common/diffusion-plugins.js';
import { modelSource } from './common/model-source.js';
import type { LoraTextToImageOptions } from './common/option-types/lora-text-to-image.js';
import {
  count,
  diffusionOptions,
  imageOptions,
  modelOptions,
  names,
  oneSource,
  optimizerOptions,
  positive,
  runOptions,
  samplingOptions,
} from './common/options.js';
import { parseOptions } from './common/parse-options.js';
import { commonPlugins } from './common/plugins.js';

export type { LoraTextToImageOptions };

/** The options of {@link loraTextToImage}, as a schema. */
export const loraTextToImageOptions = oneSource(
  z.strictObject({
    ...runOptions,
    ...modelOptions,
    ...imageOptions,
    ...optimizerOptions,
    ...diffusionOptions,
    ...samplingOptions,
    outputDir: runOptions.outputDir.default('runs/lora'),
    learningRate: optimizerOptions.learningRate.default(1e-4),
    lrScheduler: optimizerOptions.lrScheduler.default('constant'),
    trainBatchSize: diffusionOptions.trainBatchSize.default(16),
    captionDropout: diffusionOptions.captionDropout.default(0),
    rank: count().default(4).describe('Rank of the adapters.'),
    loraAlpha: positive().optional().describe('The adapters are scaled by alpha / rank; the rank by default.'),
    loraDropout: z.number().min(0).max(0.999).default(0).describe('Dropout before the adapters.'),
    loraTargets: names()
      .default([...ATTENTION_TARGETS])
      .describe('Modules to adapt, by the ends of their paths.'),
    trainTextEncoder: z.boolean().default(false).describe('Adapt the attention of the text encoders as well.'),
    rslora: z.boolean().default(false).describe('Scale by alpha / sqrt(rank).'),
  }),
);

/** Fine-tunes a text-to-image model with LoRA on a folder of images. */
export async function loraTextToImage(options: LoraTextToImageOptions): Promise<Composition> {
  const o = parseOptions('lora-text-to-image', loraTextToImageOptions, options);
  const adapter = lora({
    rank: o.rank,
    alpha: o.loraAlpha ?? o.rank,
    rslora: o.rslora,
    targets: o.loraTargets,
    dropout: o.loraDropout,
    textTargets: o.trainTextEncoder ? TEXT_ATTENTION_TARGETS : [],
  });
  return compose(
    textToImageModel({ ...modelSource(o), train: 'nothing', mixedPrecision: o.mixedPrecision }),
    adapter,
    ...commonPlugins(loraTextToImageOptions, o, options),
    saveLora(o.outputDir, adapter, { resolution: o.resolution }),
    ...(await diffusionPlugins(o, options)),
  );
}
