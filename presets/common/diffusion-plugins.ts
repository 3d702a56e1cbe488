import { type AnyPlugin, fail } from '../../core/index.js';
import { type CachedLatentsOptions, cachedLatents, type Pictures } from '../../plugins/data/cached-latents.js';
import type { PictureTables } from '../../plugins/data/image-folder/table.js';
import { type ImageFolderOptions, imageFolder } from '../../plugins/data/image-folder.js';
import { type ParquetPicturesOptions, parquetPictures } from '../../plugins/data/parquet-pictures.js';
import { graphCapture } from '../../plugins/devices/graph-capture.js';
import { gradientCheckpointing } from '../../plugins/gradients/gradient-checkpointing.js';
import { earlyStopping } from '../../plugins/observe/early-stopping.js';
import { evaluation } from '../../plugins/observe/evaluation.js';
import { preparation, whileWatched } from '../../plugins/observe/progress/preparation.js';
import { samples } from '../../plugins/observe/samples.js';
import { summary } from '../../plugins/observe/summary.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { bucketsFrom } from './buckets.js';
import { dataFolder, streamedTables } from './dataset.js';
import { denoisingOf } from './denoising-of.js';
import { fewest, heldLimit } from './fast-dev-run.js';
import { resolutionFor } from './model-source.js';
import type {
  bucketOptions,
  diffusionOptions,
  imageOptions,
  modelOptions,
  OptionValues,
  pictureOptions,
  samplingOptions,
  streamingOptions,
} from './options.js';
import type { CommonOptions } from './plugins.js';
import { samplingOf } from './sampling.js';
import { spokenOf } from './spoken-of.js';

/** The options that these presets have, checked and with their defaults. */
type DiffusionOptions = Pick<CommonOptions, 'outputDir' | 'quiet' | 'fastDevRun'> &
  OptionValues<typeof modelOptions & typeof pictureOptions & typeof bucketOptions & typeof diffusionOptions & typeof samplingOptions> & {
    readonly captionColumn?: string;
    readonly captionPrefix?: string | undefined;
  };

/** The folder that a preset trains on, and what is true of it alone. */
export interface TrainingFolder {
  readonly folder: string;
  readonly options: Partial<ImageFolderOptions>;
}

/** Tables that are read while training, and what is true of them alone. */
export interface TrainingTables {
  readonly tables: PictureTables;
  readonly options: Partial<ParquetPicturesOptions>;
}

/** Options that mean nothing for pictures that are read while training. */
const OF_FOLDERS = ['cacheLatents', 'cacheDir', 'skipBadImages', 'folderRepeats', 'useAspectRatioBuckets', 'alphaMask'] as const;

type CaptionedOptions = OptionValues<typeof imageOptions & typeof streamingOptions>;

/** The training pictures of presets that take captions from where these are. `given` are the options as they came, without defaults. */
export async function captionedPictures(
  o: CaptionedOptions & Pick<CommonOptions, 'limitItems'>,
  given: Partial<CaptionedOptions>,
): Promise<TrainingFolder | TrainingTables> {
  const options = {
    shuffleCaption: o.shuffleCaption,
    keepTokens: o.keepTokens,
    ...fewest(o.maxTrainSamples, o.limitItems),
  };
  if (!o.streaming || o.datasetName === undefined) {
    const { folder, without } = await dataFolder(o);
    return { folder, options: { ...options, folderRepeats: o.folderRepeats, without } };
  }
  const unfit = OF_FOLDERS.filter((name) => given[name] !== undefined && given[name] !== false);
  if (unfit.length > 0)
    fail(
      'OPTION_INVALID',
      'streaming',
      `streaming reads pictures while training: ${unfit.join(', ')} would need all of them before`,
      'Leave one out.',
    );
  return { tables: await streamedTables(o, o.datasetName), options: { ...options, bufferSize: o.shuffleBufferSize } };
}

/** Data, objective, evaluation and pictures of the presets that train on a folder of images. `given` are the options as they came, without defaults. */
export async function diffusionPlugins(
  o: DiffusionOptions,
  given: Partial<Pick<DiffusionOptions, 'cacheDir' | 'cacheLatents'>>,
  training: TrainingFolder | TrainingTables,
): Promise<AnyPlugin[]> {
  // What is true of all pictures; only the training's are cropped and flipped at random.
  const pictures = {
    batchSize: o.trainBatchSize,
    resolution: await resolutionFor(o),
    interpolation: o.imageInterpolationMode,
    background: o.background,
    ...(o.captionPrefix === undefined ? {} : { captionPrefix: o.captionPrefix }),
    maxPixels: o.maxPixels,
  };
  const images = {
    ...pictures,
    alphaMask: o.alphaMask,
    ...bucketsFrom(o),
    ...(o.captionColumn === undefined ? {} : { captionColumn: o.captionColumn }),
    skipBadImages: o.skipBadImages,
  };
  const isStreamed = 'tables' in training;
  const places = { centerCrop: o.centerCrop, randomFlip: o.randomFlip };
  const cache = {
    ...(o.cacheDir === undefined ? {} : { files: folder(o.cacheDir) }),
    ...(o.quiet ? {} : { onProgress: preparation() }),
  };
  // Who did not ask for a cache need not hear that there is nothing to keep.
  const asked = spokenOf(given, o);
  const sayIdle = asked.cacheDir !== undefined || asked.cacheLatents === true;
  // A cache sends the autoencoder off the device, where streamed pictures need it in each step.
  const data = (from: Pictures, more: CachedLatentsOptions = {}) =>
    o.cacheLatents && !isStreamed ? cachedLatents(from, { ...cache, ...more }) : from;
  const prompts = o.validationPrompt === undefined ? [] : [o.validationPrompt].flat();
  return [
    isStreamed
      ? parquetPictures(training.tables, { ...pictures, ...places, ...training.options })
      : data(imageFolder(training.folder, { ...images, ...places, ...training.options }), { sayIdle }),
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
