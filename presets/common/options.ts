import { z } from 'zod';
import { DEVICES } from '../../plugins/devices/device.js';
import { OPTIMIZERS } from './optimizers.js';
import { SCHEDULES } from './schedules.js';

// The options presets share, under the names of diffusers' training scripts in camel case; the command line spells them
// with underscores or dashes. Descriptions are the command line's help.

const count = (least = 1) => z.coerce.number().int().min(least);
const positive = () => z.coerce.number().positive();
const share = () => z.coerce.number().min(0).max(1);

/** Switches: `--flag`, `--flag true`, `--flag false`. */
export const flag = () => z.union([z.boolean(), z.stringbool()]);

/** What a run can be reported to, beside its log. */
export const REPORTS = ['csv', 'tensorboard', 'all', 'none'] as const;

export const runOptions = {
  outputDir: z.string().min(1).default('runs/run').describe('Where everything the run makes is written.'),
  seed: z.coerce.number().int().default(0).describe('Every random draw follows from it.'),
  device: z
    .enum(['auto', ...DEVICES])
    .default('auto')
    .describe('Where to compute; auto takes the best that works.'),
  threads: count().optional().describe('Threads of the wasm device; all cores by default.'),
  maxTrainSteps: count().optional().describe('Length of the run in optimizer steps; wins over num_train_epochs.'),
  numTrainEpochs: count().default(100).describe('Length of the run in passes over the data set.'),
  loggingSteps: count().default(10).describe('Write to log.jsonl every so many steps.'),
  reportTo: z
    .union([
      z.array(z.enum(REPORTS)),
      z
        .string()
        .transform((text) => text.split(','))
        .pipe(z.array(z.enum(REPORTS))),
    ])
    .default([])
    .describe('What to write beside log.jsonl: csv, tensorboard, all or none, with commas between.'),
  checkpointingSteps: count().optional().describe('Save a checkpoint every so many steps.'),
  checkpointingSeconds: positive().optional().describe('Save a checkpoint whenever so many seconds have passed.'),
  checkpointsTotalLimit: count().optional().describe('Keep only the newest so many checkpoints.'),
  checkpointBest: z.string().optional().describe('Save whenever this metric of evaluations gets lower (loss.held), and keep the best.'),
  resumeOverride: z
    .union([z.array(z.string()), z.string().transform((text) => text.split(','))])
    .optional()
    .describe(
      'Differences from the saved run that are meant, with commas between: seed, items, batchSize, windowLength, worldSize, content.',
    ),
  resumeFromCheckpoint: z.string().optional().describe('A checkpoint folder to continue from, or "latest".'),
  ui: flag().default(false).describe('Show the run on a page of this machine while it trains.'),
  uiPort: z.coerce.number().int().min(0).max(65535).default(0).describe('The page’s port; any free one by default.'),
  uiHost: z.string().default('127.0.0.1').describe('The interface it listens on; others need the token that its address carries.'),
  timeout: positive().default(600).describe('Seconds that processes wait for one that stays away before the job ends.'),
  checkEvery: count(0).default(500).describe('With several processes: compare their weights every so many steps; 0 never.'),
  splitBatches: flag().default(false).describe('With several processes: train_batch_size is that of all together.'),
  gradientCompression: z.enum(['none', 'float16']).default('none').describe('How gradients travel between processes.'),
  quiet: flag().default(false).describe('No progress bar.'),
};

export const optimizerOptions = {
  learningRate: z.coerce.number().min(0).describe('The base learning rate.'),
  scaleLr: flag().default(false).describe('Multiply the learning rate by accumulation x batch x processes, once.'),
  lrScheduler: z.enum(SCHEDULES).describe('The learning-rate schedule.'),
  lrWarmupSteps: count(0).describe('Steps over which the rate rises from 0.'),
  lrNumCycles: positive().optional().describe('Waves (cosine: 0.5 falls to 0) or restarts of the schedule.'),
  lrPower: positive().optional().describe('Power of the polynomial schedule.'),
  lrEnd: z.coerce.number().min(0).optional().describe('Last rate of the polynomial schedule.'),
  lrStepRules: z.string().optional().describe('Rules of piecewise_constant, as "1:500,0.1:2000,0.01".'),
  optimizer: z.enum(OPTIMIZERS).default('adamw').describe('The optimizer; prodigy wants a learning rate of 1.'),
  use8bitAdam: flag().default(false).describe('AdamW with 8-bit state: the same as optimizer adamw8bit.'),
  decayExclude: z
    .union([z.array(z.string()), z.string().transform((text) => text.split(','))])
    .optional()
    .describe('Parameters without weight decay, by the names in their paths, with commas between: "bias,*norm*" is usual.'),
  adamBeta1: share().default(0.9).describe('Decay of the mean of gradients (adamw, adamw8bit, prodigy).'),
  adamBeta2: share().default(0.999).describe('Decay of the mean of squared gradients (the same).'),
  adamEpsilon: positive().default(1e-8).describe('Keeps the division from 0.'),
  adamWeightDecay: z.coerce.number().min(0).default(0.01).describe('Decoupled weight decay.'),
  gradientAccumulationSteps: count().default(1).describe('MicroBatches that make one step.'),
  maxGradNorm: z.coerce.number().min(0).default(1).describe('Clip the global gradient norm to this; 0 turns clipping off.'),
};

export const diffusionOptions = {
  trainBatchSize: count().describe('Images in a microBatch.'),
  snrGamma: positive().optional().describe('gamma of min-SNR loss weighting; 5 is usual.'),
  noiseOffset: z.coerce.number().min(0).default(0).describe('Strength of noise added per image and channel.'),
  captionDropout: share().default(0.1).describe('Share of captions left empty, for classifier-free guidance.'),
};

export const imageOptions = {
  trainDataDir: z.string().min(1).describe('A folder of images with captions in metadata.jsonl or a .txt beside each.'),
  captionColumn: z.string().default('text').describe('The field of metadata.jsonl that holds the caption.'),
  resolution: count().optional().describe('Side of the square images; the model’s own by default.'),
  centerCrop: flag().default(false).describe('Crop the centre instead of a random place.'),
  randomFlip: flag().default(false).describe('Flip images left to right at random.'),
  maxPixels: count().default(64_000_000).describe('Images with more pixels are refused.'),
  skipBadImages: flag().default(false).describe('Leave out images that cannot be decoded, and say which.'),
  maxTrainSamples: count().optional().describe('Use only the first so many images.'),
};

export const samplingOptions = {
  numInferenceSteps: count().default(25).describe('Sampling steps.'),
  guidanceScale: z.coerce.number().min(1).default(2).describe('Classifier-free guidance; 1 turns it off.'),
};

/** camelCase to the command line's spelling. */
export const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
