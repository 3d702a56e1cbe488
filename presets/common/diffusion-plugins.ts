import type { AnyPlugin } from '../../core/index.js';
import { type CachedLatentsOptions, cachedLatents, type Pictures } from '../../plugins/data/cached-latents.js';
import { type ImageFolderOptions, imageFolder } from '../../plugins/data/image-folder.js';
import { graphCapture } from '../../plugins/devices/graph-capture.js';
import { gradientCheckpointing } from '../../plugins/gradients/gradient-checkpointing.js';
import { earlyStopping } from '../../plugins/observe/early-stopping.js';
import { evaluation } from '../../plugins/observe/evaluation.js';
import { preparation, whileWatched } from '../../plugins/observe/progress/preparation.js';
import { samples } from '../../plugins/observe/samples.js';
import { summary } from '../../plugins/observe/summary.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { dataFolder } from './dataset.js';
import { denoisingOf } from './denoising-of.js';
import { fewest, heldLimit } from './fast-dev-run.js';
import { resolutionFor } from './model-source.js';
import type { diffusionOptions, imageOptions, modelOptions, OptionValues, pictureOptions, samplingOptions } from './options.js';
import type { CommonOptions } from './plugins.js';
import { samplingOf } from './sampling.js';

/** The options that these presets have, checked and with their defaults. */
type DiffusionOptions = Pick<CommonOptions, 'outputDir' | 'quiet' | 'fastDevRun'> &
  OptionValues<typeof modelOptions & typeof pictureOptions & typeof diffusionOptions & typeof samplingOptions> & {
    readonly captionColumn?: string;
    readonly captionPrefix?: string | undefined;
  };

/** The folder that a preset trains on, and what is true of it alone. */
export interface TrainingFolder {
  readonly folder: string;
  readonly options: Partial<ImageFolderOptions>;
}

/** The training folder of presets that take captions from it. */
export const captionedFolder = async (
  o: OptionValues<typeof imageOptions> & Pick<CommonOptions, 'limitItems'>,
): Promise<TrainingFolder> => ({
  folder: await dataFolder(o),
  options: {
    shuffleCaption: o.shuffleCaption,
    keepTokens: o.keepTokens,
    folderRepeats: o.folderRepeats,
    ...fewest(o.maxTrainSamples, o.limitItems),
  },
});

/** Data, objective, evaluation and pictures of the presets that train on a folder of images. `given` are the options as they came, without defaults. */
export async function diffusionPlugins(
  o: DiffusionOptions,
  given: Partial<Pick<DiffusionOptions, 'cacheDir' | 'cacheLatents'>>,
  training: TrainingFolder,
): Promise<AnyPlugin[]> {
  // What is true of both folders; only the training's images are cropped and flipped at random.
  const images = {
    batchSize: o.trainBatchSize,
    resolution: await resolutionFor(o),
    ...(o.captionColumn === undefined ? {} : { captionColumn: o.captionColumn }),
    interpolation: o.imageInterpolationMode,
    background: o.background,
    ...(o.captionPrefix === undefined ? {} : { captionPrefix: o.captionPrefix }),
    maxPixels: o.maxPixels,
    skipBadImages: o.skipBadImages,
  };
  const cache = {
    ...(o.cacheDir === undefined ? {} : { files: folder(o.cacheDir) }),
    ...(o.quiet ? {} : { onProgress: preparation() }),
  };
  // Who did not ask for a cache need not hear that there is nothing to keep.
  const sayIdle = given.cacheDir !== undefined || given.cacheLatents === true;
  const data = (pictures: Pictures, more: CachedLatentsOptions = {}) =>
    o.cacheLatents ? cachedLatents(pictures, { ...cache, ...more }) : pictures;
  const prompts = o.validationPrompt === undefined ? [] : [o.validationPrompt].flat();
  return [
    data(imageFolder(training.folder, { ...images, centerCrop: o.centerCrop, randomFlip: o.randomFlip, ...training.options }), { sayIdle }),
    denoisingOf(o),
    ...(o.gradientCheckpointing ? [gradientCheckpointing()] : []),
    ...(o.graphCapture ? [graphCapture()] : []),
    summary(o.outputDir),
    ...(prompts.length > 0
      ? [
          samples(prompts, o.outputDir, {
            ...samplingOf(o),
            imagesPerPrompt: o.numValidationImages,
            ...(o.quiet ? {} : whileWatched()),
            ...(o.validationSteps ? { every: o.validationSteps } : {}),
            ...(o.validationEpochs ? { everyEpochs: o.validationEpochs } : {}),
          }),
        ]
      : []),
    ...(o.validationDataDir === undefined
      ? []
      : [
          evaluation(data(imageFolder(o.validationDataDir, { ...images, centerCrop: true, ...heldLimit(o) })), {
            ...(o.validationSteps ? { every: o.validationSteps } : {}),
            ...(o.quiet ? {} : whileWatched()),
          }),
        ]),
    ...(o.earlyStoppingPatience === undefined ? [] : [earlyStopping({ patience: o.earlyStoppingPatience })]),
  ];
}
