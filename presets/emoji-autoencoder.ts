import { z } from 'zod';
import { type Composition, compose } from '../core/index.js';
import { autoencoderPlugins, autoencoderTraining } from './common/autoencoder-plugins.js';
import { devRun, heldLimit } from './common/fast-dev-run.js';
import type { EmojiAutoencoderOptions } from './common/option-types/emoji-autoencoder.js';
import { count, optimizerOptions, steppedRunOptions } from './common/options.js';
import { parseOptions } from './common/parse-options.js';
import { emojiData, STYLE_SPLIT } from './emoji/data.js';
import { emojiAutoencoderConfig } from './emoji/model.js';
import { renderEmoji, splitEmoji } from './emoji/noto.js';

export type { EmojiAutoencoderOptions };

/** The options of {@link emojiAutoencoder}, as a schema. */
export const emojiAutoencoderOptions = z.strictObject({
  ...steppedRunOptions,
  ...optimizerOptions,
  ...autoencoderTraining,
  outputDir: steppedRunOptions.outputDir.default('runs/emoji-autoencoder'),
  maxTrainSteps: count().default(6000).describe('Length of the run in optimizer steps.'),
  trainBatchSize: autoencoderTraining.trainBatchSize.default(32),
  learningRate: optimizerOptions.learningRate.default(1.5e-3),
  lrScheduler: optimizerOptions.lrScheduler.default('cosine'),
  lrWarmupSteps: count(0).default(200).describe('Steps over which the rate rises from 0.'),
  adamWeightDecay: optimizerOptions.adamWeightDecay.default(1e-4),
  validationSteps: count()
    .default(1000)
    .describe('Evaluate on the icons that are left out, every so many steps: loss.held, and psnr.held in dB.'),
  resolution: count().default(128).describe('Side of the pictures.'),
});

/** Trains the autoencoder of the main job's base model, on Noto's icons without those that its style is judged by. */
export async function emojiAutoencoder(options: EmojiAutoencoderOptions = {}): Promise<Composition> {
  const o = devRun(parseOptions('emoji-autoencoder', emojiAutoencoderOptions, options));
  const icons = await renderEmoji('icons', o.resolution);
  const held = new Set(splitEmoji(icons, STYLE_SPLIT.train, STYLE_SPLIT.held).held);
  return compose(
    ...autoencoderPlugins(emojiAutoencoderOptions, o, options, {
      from: emojiAutoencoderConfig(o.resolution),
      data: emojiData(icons.filter((icon) => !held.has(icon)).slice(0, o.limitItems), o.resolution, o.trainBatchSize),
      held: emojiData([...held].slice(0, heldLimit(o).maxSamples), o.resolution, o.trainBatchSize),
      evaluateEvery: o.validationSteps,
      earlyStoppingPatience: undefined,
      shown: { flip: 0.5, colours: 0.5 },
      half: true,
    }),
  );
}
