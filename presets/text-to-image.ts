import { join } from 'node:path';
import { z } from 'zod';
import { type AnyPlugin, type Composition, compose, fail } from '../core/index.js';
import { imageFolder } from '../plugins/data/image-folder.js';
import { textToImageModel } from '../plugins/models/text-to-image-model.js';
import { denoising } from '../plugins/objectives/denoising.js';
import { earlyStopping } from '../plugins/observe/early-stopping.js';
import { evaluation } from '../plugins/observe/evaluation.js';
import { samples } from '../plugins/observe/samples.js';
import { summary } from '../plugins/observe/summary.js';
import { type Files, readJson } from '../plugins/persist/formats/files.js';
import { folder } from '../plugins/persist/formats/folder.js';
import { saveModel } from '../plugins/persist/save-model.js';
import { ema } from '../plugins/weights/ema.js';
import { diffusionOptions, flag, imageOptions, optimizerOptions, runOptions, samplingOptions } from './common/options.js';
import { emojiBaseFolder } from './common/package-root.js';
import { commonPlugins } from './common/plugins.js';
import { emojiSampling } from './emoji-base.js';

/** What the text-to-image presets share. */
export const modelOptions = {
  pretrainedModelNameOrPath: z
    .string()
    .optional()
    .describe('A model in diffusers’ folder layout; the emoji base that comes with the package by default.'),
  validationDataDir: z
    .string()
    .optional()
    .describe('Images that are not trained on, to evaluate the loss with; a folder like train_data_dir.'),
  validationSteps: z.coerce
    .number()
    .int()
    .min(1)
    .optional()
    .describe('Evaluate, and draw the validation prompts, every so many steps; the loss at each epoch’s end by default.'),
  earlyStoppingPatience: z.coerce.number().int().min(1).optional().describe('End after so many evaluations in a row without a lower loss.'),
  validationPrompt: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe('What to draw before and after training; may be given several times.'),
};

export const textToImageOptions = z.strictObject({
  ...runOptions,
  ...modelOptions,
  ...imageOptions,
  ...optimizerOptions,
  ...diffusionOptions,
  ...samplingOptions,
  outputDir: runOptions.outputDir.default('runs/text-to-image'),
  learningRate: optimizerOptions.learningRate.default(1e-4),
  lrScheduler: optimizerOptions.lrScheduler.default('constant'),
  lrWarmupSteps: optimizerOptions.lrWarmupSteps.default(500),
  trainBatchSize: diffusionOptions.trainBatchSize.default(16),
  captionDropout: diffusionOptions.captionDropout.default(0),
  trainTextEncoder: flag().default(false).describe('Train the text encoder as well.'),
  useEma: flag().default(false).describe('Average the weights; the average is sampled and saved.'),
  emaWarmup: z.enum(['none', 'ratio', 'power']).default('ratio').describe('How the decay rises at first; ratio is diffusers’ usual.'),
  emaDecay: z.coerce.number().min(0).max(0.99999).default(0.9999).describe('Decay of the average.'),
});

export type TextToImageOptions = z.input<typeof textToImageOptions>;

type Shared = Pick<
  z.output<typeof textToImageOptions>,
  keyof typeof modelOptions | keyof typeof imageOptions | keyof typeof diffusionOptions | keyof typeof samplingOptions | 'outputDir'
>;

/** The side of the images a model was made for, in pixels. */
async function modelResolution(files: Files): Promise<number> {
  const { sample_size: side } = await readJson(files, 'unet/config.json');
  if (typeof side !== 'number')
    return fail('OPTION_MISSING', 'resolution', `${files.where}/unet/config.json has no sample_size`, 'Give resolution (--resolution).');
  const codec = await files.read('vae/config.json');
  const { block_size: block = 1 } = codec ? ((await readJson(files, 'vae/config.json')) as { block_size?: number }) : {};
  return side * block;
}

/** Data, objective and pictures of both presets. */
export async function diffusionPlugins(o: Shared): Promise<AnyPlugin[]> {
  const prompts = o.validationPrompt === undefined ? [] : [o.validationPrompt].flat();
  return [
    imageFolder(o.trainDataDir, {
      batchSize: o.trainBatchSize,
      resolution: o.resolution ?? (await modelResolution(modelFolder(o))),
      centerCrop: o.centerCrop,
      randomFlip: o.randomFlip,
      captionColumn: o.captionColumn,
      maxPixels: o.maxPixels,
      skipBadImages: o.skipBadImages,
      ...(o.maxTrainSamples === undefined ? {} : { maxSamples: o.maxTrainSamples }),
    }),
    denoising({ snrGamma: o.snrGamma, noiseOffset: o.noiseOffset, captionDropout: o.captionDropout }),
    summary(o.outputDir),
    ...(prompts.length > 0
      ? [samples(prompts, o.outputDir, { ...emojiSampling(o), ...(o.validationSteps ? { every: o.validationSteps } : {}) })]
      : []),
    ...(o.validationDataDir === undefined
      ? []
      : [
          evaluation(
            imageFolder(o.validationDataDir, {
              batchSize: o.trainBatchSize,
              resolution: o.resolution ?? (await modelResolution(modelFolder(o))),
              centerCrop: true,
              captionColumn: o.captionColumn,
            }),
            o.validationSteps ? { every: o.validationSteps } : {},
          ),
        ]),
    ...(o.earlyStoppingPatience === undefined ? [] : [earlyStopping({ patience: o.earlyStoppingPatience })]),
  ];
}

/** Where the model comes from. */
export const modelFolder = (o: Pick<Shared, 'pretrainedModelNameOrPath'>) => folder(o.pretrainedModelNameOrPath ?? emojiBaseFolder());

/** Trains a text-to-image model whole, on a folder of images. */
export async function textToImage(options: TextToImageOptions): Promise<Composition> {
  const o = textToImageOptions.parse(options);
  return compose(
    textToImageModel({ from: modelFolder(o), train: o.trainTextEncoder ? 'everything' : 'unet' }),
    ...commonPlugins(o),
    ...(o.useEma ? [ema({ decay: o.emaDecay, warmup: o.emaWarmup })] : []),
    saveModel(folder(join(o.outputDir, 'model')), { averaged: folder(join(o.outputDir, 'model-averaged')) }),
    ...(await diffusionPlugins(o)),
  );
}
