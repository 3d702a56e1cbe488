import { z } from 'zod';
import { DEVICES } from '#candidates';
import { INTERPOLATIONS } from '../../plugins/data/image-folder/interpolations.js';
import { MIXED_PRECISIONS } from '../../plugins/models/stable-diffusion/half-precision.js';
import { PREDICTION_TYPES } from '../../plugins/models/stable-diffusion/noise-schedule.js';
import { OPTIMIZERS } from './optimizers.js';
import { SAMPLERS, type SamplerName } from './sampling.js';
import { SCHEDULES } from './schedules.js';

// The options presets share. Those that diffusers' training scripts have bear their names, in camel case; the command line spells them
// with underscores or dashes. Descriptions are the command line's help.

// Values are taken as they are: what turns the text of a flag into them is the command line's affair.

/** A whole number. */
export const count = (least = 1) => z.number().int().min(least);
/** A finite number of at least 0. */
export const notNegative = () => z.number().min(0);
/** A finite number above 0. */
export const positive = () => z.number().positive();
/** A number from 0 to 1. */
export const share = () => z.number().min(0).max(1);
/** A text that says something: an empty one would be taken for another thing, as an empty host for every interface. */
export const text = () => z.string().min(1);
/** One text of this kind, or several. */
export const texts = () => z.union([text(), z.array(text()).readonly()]);
/** What to draw, or not to: one or several, and an empty one is one, too. */
export const prompts = () => z.union([z.string(), z.array(z.string()).readonly()]);
/** Names; on the command line with commas between. */
export const names = () => z.array(text()).readonly();

/** What a run can be reported to, beside its log. */
export const REPORTS = ['csv', 'tensorboard', 'mlflow', 'all', 'none'] as const;

export const runOptions = {
  outputDir: text().default('runs/run').describe('Where everything the run makes is written.'),
  seed: z.number().int().default(0).describe('Every random draw follows from it.'),
  device: z
    .enum(['auto', ...DEVICES])
    .default('auto')
    .describe('Where to compute; auto takes the best that works.'),
  deviceMemory: positive()
    .optional()
    .describe(
      'The most of the device’s memory that a run may take, in GiB: one whose steps need more does not begin. What the device says itself, by default.',
    ),
  threads: count().optional().describe('Threads of the wasm device; by default all cores, divided among the processes of this machine.'),
  maxTrainSteps: count().optional().describe('Length of the run in optimizer steps; wins over num_train_epochs.'),
  numTrainEpochs: count().default(100).describe('Length of the run in passes over the data set.'),
  fastDevRun: z
    .boolean()
    .default(false)
    .describe(
      'Make one step and one of everything else that belongs to the run (evaluation, pictures, checkpoint, saving), then delete what was written.',
    ),
  limitItems: count().optional().describe('Train on only so many of the examples, to see whether they can be learnt by heart.'),
  loggingSteps: count().default(10).describe('Write to log.jsonl every so many steps.'),
  reportTo: z
    .array(z.enum(REPORTS))
    .readonly()
    .default([])
    .describe(
      'What to write beside log.jsonl; mlflow tells the server of MLFLOW_TRACKING_URI, and is among all where that is set. In place of wandb and comet_ml give tensorboard: both read its files.',
    ),
  loggingDir: text().default('tensorboard').describe('The folder of TensorBoard’s files, below output_dir where it is no absolute path.'),
  checkpointingSteps: count().default(500).describe('Save a checkpoint every so many steps, and when the run ends.'),
  checkpointingSeconds: positive().optional().describe('Save a checkpoint whenever so many seconds have passed.'),
  checkpointsTotalLimit: count().optional().describe('Keep only the newest so many checkpoints.'),
  checkpointBest: text().optional().describe('Save whenever this metric of evaluations gets lower (loss.held), and keep the best.'),
  resumeOverride: names()
    .optional()
    .describe(
      'Differences from the saved run that are meant: seed, items, batchSize, windowLength, worldSize, content, a plugin (lora) or one of its options (lora.rank).',
    ),
  resumeFromCheckpoint: text().optional().describe('A checkpoint folder to continue from, or "latest".'),
  ui: z.boolean().default(false).describe('Show the run on a page of this machine while it trains.'),
  uiPort: count(0).max(65535).default(0).describe('The page’s port; any free one by default.'),
  uiHost: text().default('127.0.0.1').describe('The interface it listens on; others need the token that its address carries.'),
  timeout: positive().default(600).describe('Seconds that processes wait for one that stays away before the job ends.'),
  checkEvery: count(0).default(500).describe('With several processes: compare their weights every so many steps; 0 never.'),
  splitBatches: z.boolean().default(false).describe('With several processes: train_batch_size is that of all together.'),
  gradientCompression: z.enum(['none', 'float16']).default('none').describe('How gradients travel between processes.'),
  shardOptimizer: z
    .boolean()
    .default(false)
    .describe('With several processes: each updates a share of the weights, and keeps the optimizer’s state of these alone.'),
  quiet: z.boolean().default(false).describe('No progress bar, and nothing of how far the latents are.'),
};

/** The same of presets that say themselves how many steps a run has: one in epochs would never come about. */
const { numTrainEpochs: _, ...withoutEpochs } = runOptions;
export const steppedRunOptions = withoutEpochs;

export const optimizerOptions = {
  learningRate: notNegative().describe('The base learning rate.'),
  scaleLr: z.boolean().default(false).describe('Multiply the learning rate by accumulation x batch x processes, once.'),
  lrScheduler: z.enum(SCHEDULES).describe('The learning-rate schedule.'),
  lrWarmupSteps: count(0)
    .optional()
    .describe('Steps over which the rate rises from 0; by default 500, or a tenth of a run that is shorter than 5,000 steps.'),
  lrNumCycles: positive().optional().describe('Waves (cosine: 0.5 falls to 0) or restarts of the schedule.'),
  lrPower: positive().optional().describe('Power of the polynomial schedule.'),
  lrEnd: notNegative().optional().describe('Last rate of the polynomial schedule.'),
  lrStepRules: text().optional().describe('Rules of piecewise_constant, as "1:500,0.1:2000,0.01".'),
  optimizer: z.enum(OPTIMIZERS).default('adamw').describe('The optimizer; prodigy wants a learning rate of 1.'),
  use8bitAdam: z.boolean().default(false).describe('AdamW with 8-bit state: the same as optimizer adamw8bit.'),
  decayExclude: names().optional().describe('Parameters without weight decay, by the names in their paths: bias and *norm* are usual.'),
  adamBeta1: share().default(0.9).describe('Decay of the mean of gradients (adamw, adamw8bit, prodigy).'),
  adamBeta2: share().default(0.999).describe('Decay of the mean of squared gradients (the same).'),
  adamEpsilon: positive().default(1e-8).describe('Keeps the division from 0.'),
  adamWeightDecay: notNegative().default(0.01).describe('Decoupled weight decay.'),
  gradientAccumulationSteps: count().default(1).describe('MicroBatches that make one step.'),
  maxGradNorm: notNegative().default(1).describe('Clip the global gradient norm to this; 0 turns clipping off.'),
};

/** How precisely a model computes. */
export const precisionOptions = {
  mixedPrecision: z
    .enum(MIXED_PRECISIONS)
    .default('no')
    .describe(
      'fp16 stores frozen weights and what goes through the networks in half precision: less memory and time, on webgpu, tfjs-node and tfjs-node-gpu. There is no bf16, which WebGPU lacks.',
    ),
};

export const diffusionOptions = {
  trainBatchSize: count().describe('Images in a microBatch.'),
  ...precisionOptions,
  snrGamma: positive().optional().describe('gamma of min-SNR loss weighting; 5 is usual.'),
  noiseOffset: notNegative().default(0).describe('Strength of noise added per image and channel.'),
  captionDropout: share().default(0.1).describe('Share of captions left empty, for classifier-free guidance.'),
};

/** How pictures are looked at, wherever they come from. */
export const pictureOptions = {
  background: text()
    .regex(/^(white|black|grey|#[0-9a-f]{6})$/i, 'expected white, black, grey or #rrggbb')
    .default('white')
    .describe('The colour behind what is transparent: white, black, grey or #rrggbb.'),
  alphaMask: z.boolean().default(false).describe('Learn each part of an image as far as it is opaque.'),
  resolution: count().optional().describe('Side of the square images; the model’s by default.'),
  imageInterpolationMode: z.enum(INTERPOLATIONS).default('lanczos').describe('How images are brought to the resolution.'),
  centerCrop: z.boolean().default(false).describe('Crop the centre instead of a random place.'),
  randomFlip: z.boolean().default(false).describe('Flip images left to right at random.'),
  maxPixels: count().default(64_000_000).describe('Images with more pixels are refused.'),
  skipBadImages: z.boolean().default(false).describe('Leave out images that cannot be decoded, and say which.'),
  cacheLatents: z
    .boolean()
    .default(true)
    .describe('Compute latents and text states that do not change once, before training, where the model has an autoencoder.'),
  cacheDir: text()
    .optional()
    .describe(
      'A folder to keep these in, for later runs too, and pictures of data sets that come as tables; in memory, and in Hugging Face’s cache, by default.',
    ),
};

/** Sizes of pictures in place of the square. */
export const bucketOptions = {
  useAspectRatioBuckets: z
    .boolean()
    .default(false)
    .describe('Cut each image to the one of several sizes of as many pixels that crops it least, rather than to a square.'),
  bucketStep: count().default(64).describe('The sides of these sizes are multiples of it.'),
  bucketMin: count().optional().describe('The shortest side; half the resolution by default. Images that are smaller have smaller sizes.'),
  bucketMax: count().optional().describe('The longest side; twice the resolution by default.'),
  bucketUpscale: z
    .boolean()
    .default(false)
    .describe('Enlarge images that are smaller than their size, in place of giving them a smaller one.'),
};

export const imageOptions = {
  trainDataDir: text()
    .optional()
    .describe('A folder of images, also in folders below it, with captions in metadata.jsonl, .csv or .parquet, or in a .txt beside each.'),
  datasetName: text()
    .optional()
    .describe('In place of it a data set: its name on the Hugging Face hub (owner/name), or a folder, of .parquet files or of images.'),
  datasetConfigName: text().optional().describe('The configuration of the data set: a folder in it.'),
  imageColumn: text().default('image').describe('The column of the data set’s tables that holds the images.'),
  captionColumn: text().default('text').describe('The field of the metadata, or the column, that holds the caption.'),
  captionPrefix: text().optional().describe('Stands before each caption.'),
  shuffleCaption: z.boolean().default(false).describe('Show the parts of a caption, between commas, in another order each epoch.'),
  keepTokens: count(0).default(0).describe('So many parts at a caption’s beginning, behind the prefix, stay where they are.'),
  folderRepeats: z
    .boolean()
    .default(false)
    .describe(
      'Folders in the folder that are named as "10_sks dog" say how often an epoch shows their images, and what those show where nothing else does.',
    ),
  maxTrainSamples: count().optional().describe('Use only so many of the images, drawn by the seed.'),
  ...pictureOptions,
  ...bucketOptions,
};

/** How tables of pictures are read. */
export const streamingOptions = {
  streaming: z
    .boolean()
    .default(false)
    .describe(
      'Read the tables of dataset_name while training, from the hub or a folder, in place of unpacking them first: for data sets larger than memory and disk. Latents are not cached then.',
    ),
  shuffleBufferSize: count().default(1000).describe('Rows that the order of streamed pictures is drawn from; so many are in memory.'),
};

export const samplingOptions = {
  numInferenceSteps: count().default(25).describe('Sampling steps.'),
  guidanceScale: z.number().min(1).default(2).describe('Classifier-free guidance; 1 turns it off.'),
  guidanceRescale: share()
    .default(0)
    .describe('How far guidance goes back to the contrast of unguided pictures; 0.7 is usual for v-prediction.'),
  negativePrompt: z.string().optional().describe('What guidance leads away from.'),
  sampler: z
    .enum(Object.keys(SAMPLERS) as [SamplerName, ...SamplerName[]])
    .default('ddim')
    .describe('How noise is taken away.'),
};

/** Where adapters are sent to. */
export const hubOptions = {
  pushToHub: z
    .boolean()
    .default(false)
    .describe(
      'Send the adapters, pictures and a page to the Hugging Face hub when the run ends; steploom push sends those of an earlier run.',
    ),
  hubModelId: text().optional().describe('The repository there: owner/name, or a name of your own; by default that of output_dir.'),
  hubToken: text().optional().describe('A token that may write there; HF_TOKEN is better, since others can read a command line.'),
};

/** Where a model's weights come from. */
export const weightsOptions = {
  pretrainedModelNameOrPath: text()
    .optional()
    .describe(
      'A model: a folder in diffusers’ layout, one .safetensors file of Stable Diffusion 1, 2 or XL, or the name of a model on the Hugging Face hub (owner/name); the emoji base that comes with the package by default.',
    ),
  pretrainedVaeModelNameOrPath: text()
    .optional()
    .describe(
      'Another autoencoder than the model’s own: the folder of a model or of an autoencoder, its .safetensors file, or its name on the hub.',
    ),
  revision: text().optional().describe('The branch, tag or commit of a model on the hub; main by default.'),
  variant: text().optional().describe('The variant of weights to load where a component has it, as fp16.'),
  predictionType: z
    .enum(PREDICTION_TYPES)
    .optional()
    .describe('What the denoiser predicts, where the files do not say it (single files of Stable Diffusion 2) or say another thing.'),
};

/** The same, and how its text encoders are used. */
export const sourceOptions = {
  ...weightsOptions,
  clipSkip: count(0).default(0).describe('Layers at the end of the text encoders to leave out, more than the model does.'),
  longCaptions: z
    .enum(['cut', 'chunk'])
    .default('cut')
    .describe('Captions and prompts that are longer than the text encoders take: cut, or encoded in pieces.'),
};

/** Where the text-to-image presets take their model from, and how they look at it while it is trained. */
export const modelOptions = {
  ...sourceOptions,
  gradientCheckpointing: z
    .boolean()
    .default(false)
    .describe('Keep less of each step and compute it again on the way back: less memory, another forward pass, the same result.'),
  graphCapture: z
    .boolean()
    .default(true)
    .describe(
      'On webgpu: note what a step does of the denoiser once for each shape, and only repeat it from then on. The result is the same.',
    ),
  validationDataDir: text().optional().describe('Images that are not trained on, to evaluate the loss with; a folder like train_data_dir.'),
  validationSteps: count()
    .optional()
    .describe('Evaluate, and draw the validation prompts, every so many steps; the loss at each epoch’s end by default.'),
  validationEpochs: count().optional().describe('Draw the validation prompts at the end of every so many epochs.'),
  numValidationImages: count().default(1).describe('Pictures of each validation prompt.'),
  earlyStoppingPatience: count().optional().describe('End after so many evaluations in a row without a lower loss.'),
  validationPrompt: prompts().optional().describe('What to draw before and after training; may be given several times.'),
};

/** Pictures come from one place; said also where other options are wrong. */
export const oneSource = <S extends z.ZodObject>(schema: S): S => {
  const given = (options: unknown) => {
    const { trainDataDir, datasetName } = (options ?? {}) as { readonly trainDataDir?: unknown; readonly datasetName?: unknown };
    return [trainDataDir, datasetName].filter((place) => place !== undefined).length;
  };
  const when = () => true;
  return schema
    .refine((options) => given(options) > 0, { path: ['trainDataDir'], message: 'missing', when })
    .refine((options) => given(options) < 2, { path: ['datasetName'], message: 'train_data_dir is given, too', when });
};

/** The values of options, once they are checked and have their defaults. */
export type OptionValues<S extends z.ZodRawShape> = z.output<z.ZodObject<S>>;
