import { z } from 'zod';
import { type Composition, compose } from '../core/index.js';
import { ATTENTION_TARGETS, lora } from '../plugins/adapters/lora.js';
import { textToImageModel } from '../plugins/models/text-to-image-model.js';
import { saveLora } from '../plugins/persist/save-lora.js';
import { diffusionOptions, flag, imageOptions, optimizerOptions, runOptions, samplingOptions } from './common/options.js';
import { commonPlugins } from './common/plugins.js';
import { diffusionPlugins, modelFolder, modelOptions } from './text-to-image.js';

export const loraTextToImageOptions = z.strictObject({
  ...runOptions,
  ...modelOptions,
  ...imageOptions,
  ...optimizerOptions,
  ...diffusionOptions,
  ...samplingOptions,
  outputDir: runOptions.outputDir.default('runs/lora'),
  learningRate: optimizerOptions.learningRate.default(1e-4),
  lrScheduler: optimizerOptions.lrScheduler.default('constant'),
  lrWarmupSteps: optimizerOptions.lrWarmupSteps.default(500),
  trainBatchSize: diffusionOptions.trainBatchSize.default(16),
  captionDropout: diffusionOptions.captionDropout.default(0),
  rank: z.coerce.number().int().min(1).default(4).describe('Rank of the adapters.'),
  loraAlpha: z.coerce.number().positive().optional().describe('The adapters are scaled by alpha / rank; the rank by default.'),
  loraDropout: z.coerce.number().min(0).max(0.999).default(0).describe('Dropout before the adapters.'),
  loraTargets: z
    .union([z.array(z.string()), z.string().transform((text) => text.split(','))])
    .default([...ATTENTION_TARGETS])
    .describe('Modules to adapt, by the ends of their paths, with commas between.'),
  rslora: flag().default(false).describe('Scale by alpha / sqrt(rank).'),
});

export type LoraTextToImageOptions = z.input<typeof loraTextToImageOptions>;

/** Fine-tunes a text-to-image model with LoRA on a folder of images. */
export async function loraTextToImage(options: LoraTextToImageOptions): Promise<Composition> {
  const o = loraTextToImageOptions.parse(options);
  const adapter = { rank: o.rank, alpha: o.loraAlpha ?? o.rank, rslora: o.rslora };
  return compose(
    textToImageModel({ from: modelFolder(o), train: 'nothing' }),
    lora({ ...adapter, targets: o.loraTargets, dropout: o.loraDropout }),
    ...commonPlugins(o),
    saveLora(o.outputDir, adapter),
    ...(await diffusionPlugins(o)),
  );
}
