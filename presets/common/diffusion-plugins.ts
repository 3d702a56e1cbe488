import { type AnyPlugin, fail } from '../../core/index.js';
import { imageFolder } from '../../plugins/data/image-folder.js';
import { denoising } from '../../plugins/objectives/denoising.js';
import { earlyStopping } from '../../plugins/observe/early-stopping.js';
import { evaluation } from '../../plugins/observe/evaluation.js';
import { samples } from '../../plugins/observe/samples.js';
import { summary } from '../../plugins/observe/summary.js';
import { type Files, readJson } from '../../plugins/persist/formats/files.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import type { diffusionOptions, imageOptions, modelOptions, OptionValues, samplingOptions } from './options.js';
import { emojiBaseFolder } from './package-root.js';
import type { CommonOptions } from './plugins.js';
import { samplingOf } from './sampling.js';

/** The options that both presets have, checked and with their defaults. */
type DiffusionOptions = Pick<CommonOptions, 'outputDir'> &
  OptionValues<typeof modelOptions & typeof imageOptions & typeof diffusionOptions & typeof samplingOptions>;

/** The side of the images to train on, in pixels: what is wanted if the model can work on it, else what it was made for. */
async function resolutionFor(files: Files, wanted: number | undefined): Promise<number> {
  const codec = await files.read('vae/config.json');
  const { block_size: block = 1 } = codec ? ((await readJson(files, 'vae/config.json')) as { block_size?: number }) : {};
  if (wanted !== undefined && wanted % block !== 0)
    fail(
      'OPTION_INVALID',
      'resolution',
      `the model works on blocks of ${block} x ${block} pixels, resolution is ${wanted}`,
      `Give a multiple of ${block}.`,
    );
  if (wanted !== undefined) return wanted;
  const { sample_size: side } = await readJson(files, 'unet/config.json');
  if (typeof side !== 'number')
    return fail('OPTION_MISSING', 'resolution', `${files.where}/unet/config.json has no sample_size`, 'Give resolution.');
  return side * block;
}

/** Data, objective, evaluation and pictures of the presets that train on a folder of images. */
export async function diffusionPlugins(o: DiffusionOptions): Promise<AnyPlugin[]> {
  // What is true of both folders; only the training's images are cropped and flipped at random.
  const images = {
    batchSize: o.trainBatchSize,
    resolution: await resolutionFor(modelFolder(o), o.resolution),
    captionColumn: o.captionColumn,
    maxPixels: o.maxPixels,
    skipBadImages: o.skipBadImages,
  };
  const prompts = o.validationPrompt === undefined ? [] : [o.validationPrompt].flat();
  return [
    imageFolder(o.trainDataDir, {
      ...images,
      centerCrop: o.centerCrop,
      randomFlip: o.randomFlip,
      ...(o.maxTrainSamples === undefined ? {} : { maxSamples: o.maxTrainSamples }),
    }),
    denoising({ snrGamma: o.snrGamma, noiseOffset: o.noiseOffset, captionDropout: o.captionDropout }),
    summary(o.outputDir),
    ...(prompts.length > 0
      ? [samples(prompts, o.outputDir, { ...samplingOf(o), ...(o.validationSteps ? { every: o.validationSteps } : {}) })]
      : []),
    ...(o.validationDataDir === undefined
      ? []
      : [
          evaluation(
            imageFolder(o.validationDataDir, { ...images, centerCrop: true }),
            o.validationSteps ? { every: o.validationSteps } : {},
          ),
        ]),
    ...(o.earlyStoppingPatience === undefined ? [] : [earlyStopping({ patience: o.earlyStoppingPatience })]),
  ];
}

/** Where the model comes from. */
export const modelFolder = (o: Pick<DiffusionOptions, 'pretrainedModelNameOrPath'>) =>
  folder(o.pretrainedModelNameOrPath ?? emojiBaseFolder());
