import { z } from 'zod';
import { type Composition, compose } from '../core/index.js';
import { textToImageModel } from '../plugins/models/text-to-image-model.js';
import { saveLora } from '../plugins/persist/save-lora.js';
import { captionedPictures, diffusionPlugins } from './common/diffusion-plugins.js';
import { devRun } from './common/fast-dev-run.js';
import { loraOf, loraOptions } from './common/lora-options.js';
import { modelSource } from './common/model-source.js';
import type { LoraTextToImageOptions } from './common/option-types/lora-text-to-image.js';
import {
  diffusionOptions,
  hubOptions,
  imageOptions,
  modelOptions,
  oneSource,
  optimizerOptions,
  runOptions,
  samplingOptions,
  streamingOptions,
} from './common/options.js';
import { parseOptions } from './common/parse-options.js';
import { commonPlugins } from './common/plugins.js';
import { pushOf } from './common/push.js';

export type { LoraTextToImageOptions };

/** The options of {@link loraTextToImage}, as a schema. */
export const loraTextToImageOptions = oneSource(
  z.strictObject({
    ...runOptions,
    ...modelOptions,
    ...imageOptions,
    ...streamingOptions,
    ...optimizerOptions,
    ...diffusionOptions,
    ...samplingOptions,
    outputDir: runOptions.outputDir.default('runs/lora'),
    learningRate: optimizerOptions.learningRate.default(1e-4),
    lrScheduler: optimizerOptions.lrScheduler.default('constant'),
    trainBatchSize: diffusionOptions.trainBatchSize.default(16),
    captionDropout: diffusionOptions.captionDropout.default(0),
    ...loraOptions,
    ...hubOptions,
  }),
);

/** Fine-tunes a text-to-image model with LoRA on a folder of images. */
export async function loraTextToImage(options: LoraTextToImageOptions): Promise<Composition> {
  const o = devRun(parseOptions('lora-text-to-image', loraTextToImageOptions, options));
  const adapter = loraOf(o);
  return compose(
    textToImageModel({ ...modelSource(o), train: 'nothing', mixedPrecision: o.mixedPrecision }),
    adapter,
    ...commonPlugins(loraTextToImageOptions, o, options),
    saveLora(o.outputDir, adapter, { resolution: o.resolution }),
    ...pushOf(o),
    ...(await diffusionPlugins(o, options, await captionedPictures(o, options))),
  );
}
