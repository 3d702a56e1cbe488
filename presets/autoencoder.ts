import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { type Composition, compose, fail, messageOf } from '../core/index.js';
import { imageFolder } from '../plugins/data/image-folder.js';
import { parseAutoencoderKLConfig } from '../plugins/models/vae/config.js';
import { folder } from '../plugins/persist/formats/folder.js';
import { autoencoderPlugins, autoencoderTraining, usualPictures } from './common/autoencoder-plugins.js';
import { devRun, fewest, heldLimit } from './common/fast-dev-run.js';
import type { AutoencoderOptions } from './common/option-types/autoencoder.js';
import { count, imageOptions, modelOptions, optimizerOptions, runOptions, share, text } from './common/options.js';
import { parseOptions } from './common/parse-options.js';

export type { AutoencoderOptions };

/** The options of {@link autoencoder}, as a schema. */
export const autoencoderOptions = z.strictObject({
  ...runOptions,
  ...optimizerOptions,
  ...autoencoderTraining,
  outputDir: runOptions.outputDir.default('runs/autoencoder'),
  trainDataDir: text().describe('A folder of images.'),
  pretrainedVaeModelNameOrPath: text().optional().describe('An autoencoder to go on from: its folder, or that of a whole model.'),
  vaeConfig: text().optional().describe('A config.json of diffusers’ AutoencoderKL, for a new one.'),
  resolution: count().optional().describe('Side of the square images; sample_size of the autoencoder’s config by default.'),
  centerCrop: imageOptions.centerCrop,
  randomFlip: imageOptions.randomFlip,
  colourShare: share().default(0).describe('Share of images whose colours go through a random matrix, each time another.'),
  maxPixels: imageOptions.maxPixels,
  skipBadImages: imageOptions.skipBadImages,
  maxTrainSamples: imageOptions.maxTrainSamples,
  learningRate: optimizerOptions.learningRate.default(1e-4),
  lrScheduler: optimizerOptions.lrScheduler.default('constant'),
  validationDataDir: text().optional().describe('Images that are not trained on, to evaluate with: loss.held, and psnr.held in dB.'),
  validationSteps: count().optional().describe('Evaluate every so many steps; at each epoch’s end by default.'),
  earlyStoppingPatience: modelOptions.earlyStoppingPatience,
});

/** Trains an autoencoder on a folder of images: a new one of a config.json, or one that there is. */
export async function autoencoder(options: AutoencoderOptions): Promise<Composition> {
  const o = devRun(parseOptions('autoencoder', autoencoderOptions, options));
  const { from, factor, usual } = await sourceOf(o);
  const resolution =
    o.resolution ??
    usual ??
    fail('OPTION_MISSING', 'resolution', 'the autoencoder’s config does not say which size its pictures have', 'Give resolution.');
  if (resolution % factor !== 0)
    fail(
      'OPTION_INVALID',
      'resolution',
      `the autoencoder works on blocks of ${factor} x ${factor} pixels, resolution is ${resolution}`,
      `Give a multiple of ${factor}.`,
    );
  const images = { batchSize: o.trainBatchSize, resolution, captionColumn: null, maxPixels: o.maxPixels, skipBadImages: o.skipBadImages };
  return compose(
    ...autoencoderPlugins(autoencoderOptions, o, options, {
      from,
      data: imageFolder(o.trainDataDir, {
        ...images,
        centerCrop: o.centerCrop,
        ...fewest(o.maxTrainSamples, o.limitItems),
      }),
      held: o.validationDataDir === undefined ? null : imageFolder(o.validationDataDir, { ...images, centerCrop: true, ...heldLimit(o) }),
      evaluateEvery: o.validationSteps,
      earlyStoppingPatience: o.earlyStoppingPatience,
      shown: { flip: o.randomFlip ? 0.5 : 0, colours: o.colourShare },
      half: false,
    }),
  );
}

/** The autoencoder that options name, and what its pictures are like. */
async function sourceOf({ pretrainedVaeModelNameOrPath: path, vaeConfig }: z.output<typeof autoencoderOptions>) {
  if ((path === undefined) === (vaeConfig === undefined))
    fail(
      'OPTION_INVALID',
      'autoencoder',
      `${path === undefined ? 'neither' : 'both'} of pretrainedVaeModelNameOrPath and vaeConfig ${path === undefined ? 'is' : 'are'} given`,
      'Give one: an autoencoder to go on from, or the config.json of a new one.',
    );
  if (path !== undefined) return { from: folder(path), ...(await usualPictures(folder(path))) };
  const config = await readConfig(vaeConfig as string);
  parseAutoencoderKLConfig(config, vaeConfig);
  return { from: config, ...(await usualPictures(config)) };
}

async function readConfig(path: string): Promise<object> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    return fail(
      'CONFIG_INVALID',
      'vaeConfig',
      `${path} cannot be read: ${messageOf(error)}`,
      'Give a config.json of AutoencoderKL.',
      error,
    );
  }
}
