import { z } from 'zod';
import { type Composition, compose } from '../core/index.js';
import { textToImageModel } from '../plugins/models/text-to-image-model.js';
import { saveModel } from '../plugins/persist/save-model.js';
import { ema } from '../plugins/weights/ema.js';
import { captionedPictures, diffusionPlugins } from './common/diffusion-plugins.js';
import { devRun } from './common/fast-dev-run.js';
import { modelSource } from './common/model-source.js';
import type { TextToImageOptions } from './common/option-types/text-to-image.js';
import {
  diffusionOptions,
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

export type { TextToImageOptions };

/** The options of {@link textToImage}, as a schema. */
export const textToImageOptions = oneSource(
  z.strictObject({
    ...runOptions,
    ...modelOptions,
    ...imageOptions,
    ...streamingOptions,
    ...optimizerOptions,
    ...diffusionOptions,
    ...samplingOptions,
    outputDir: runOptions.outputDir.default('runs/text-to-image'),
    learningRate: optimizerOptions.learningRate.default(1e-4),
    lrScheduler: optimizerOptions.lrScheduler.default('constant'),
    trainBatchSize: diffusionOptions.trainBatchSize.default(16),
    captionDropout: diffusionOptions.captionDropout.default(0),
    trainTextEncoder: z.boolean().default(false).describe('Train the text encoder as well.'),
    useEma: z.boolean().default(false).describe('Average the weights; the average is sampled and saved.'),
    emaWarmup: z.enum(['none', 'ratio', 'power']).default('ratio').describe('How the decay rises at first; ratio is diffusers’ usual.'),
    emaDecay: z.number().min(0).max(0.99999).default(0.9999).describe('Decay of the average.'),
  }),
);

/** Trains a text-to-image model whole, on a folder of images. */
export async function textToImage(options: TextToImageOptions): Promise<Composition> {
  const o = devRun(parseOptions('text-to-image', textToImageOptions, options));
  return compose(
    textToImageModel({ ...modelSource(o), train: o.trainTextEncoder ? 'everything' : 'unet', mixedPrecision: o.mixedPrecision }),
    ...commonPlugins(textToImageOptions, o, options),
    ...(o.useEma ? [ema({ decay: o.emaDecay, warmup: o.emaWarmup })] : []),
    saveModel(o.outputDir),
    ...(await diffusionPlugins(o, options, await captionedPictures(o, options))),
  );
}
