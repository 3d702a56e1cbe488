import { z } from 'zod';
import { type Composition, compose, fail } from '../core/index.js';
import { cachedLatents } from '../plugins/data/cached-latents.js';
import { graphCapture } from '../plugins/devices/graph-capture.js';
import { textToImageModel } from '../plugins/models/text-to-image-model.js';
import { preparation } from '../plugins/observe/progress/preparation.js';
import { summary } from '../plugins/observe/summary.js';
import { folder } from '../plugins/persist/formats/folder.js';
import { saveModel } from '../plugins/persist/save-model.js';
import { ema } from '../plugins/weights/ema.js';
import { usualPictures } from './common/autoencoder-plugins.js';
import { denoisingOf } from './common/denoising-of.js';
import { devRun } from './common/fast-dev-run.js';
import type { EmojiBaseOptions } from './common/option-types/emoji-base.js';
import { count, diffusionOptions, optimizerOptions, samplingOptions, steppedRunOptions, text } from './common/options.js';
import { parseOptions } from './common/parse-options.js';
import { commonPlugins } from './common/plugins.js';
import { samplingOf } from './common/sampling.js';
import { emojiData, STYLE_SPLIT } from './emoji/data.js';
import { emojiFigures } from './emoji/figures.js';
import { galleriesOf } from './emoji/judge.js';
import { emojiModel } from './emoji/model.js';
import { renderEmoji, splitEmoji } from './emoji/noto.js';

export type { EmojiBaseOptions };

/** The options of {@link emojiBase}, as a schema. */
export const emojiBaseOptions = z.strictObject({
  ...steppedRunOptions,
  ...optimizerOptions,
  ...diffusionOptions,
  ...samplingOptions,
  outputDir: steppedRunOptions.outputDir.default('runs/emoji-base'),
  maxTrainSteps: count().default(11600).describe('Length of the run in optimizer steps.'),
  learningRate: optimizerOptions.learningRate.default(1e-3),
  lrScheduler: optimizerOptions.lrScheduler.default('cosine'),
  lrWarmupSteps: count(0).default(200).describe('Steps over which the rate rises from 0.'),
  trainBatchSize: diffusionOptions.trainBatchSize.default(128),
  textLayers: count(0).default(0).describe('Layers of the text encoder.'),
  emaDecay: z.number().min(0).max(0.99999).default(0.999).describe('Decay of the averaged weights that are saved.'),
  pretrainedVaeModelNameOrPath: text()
    .default('runs/emoji-autoencoder')
    .describe('The autoencoder on whose latents it is trained: a folder that emoji-autoencoder wrote, or that of a whole model.'),
  rescaleZeroSnr: z.boolean().default(false).describe('Rescale the noise schedule to zero terminal SNR.'),
});

/** Trains the base model that the emoji job starts from, on Noto's icons. */
export async function emojiBase(options: EmojiBaseOptions = {}): Promise<Composition> {
  const o = devRun(parseOptions('emoji-base', emojiBaseOptions, options));
  const vae = folder(o.pretrainedVaeModelNameOrPath);
  const { factor, usual: side } = await usualPictures(vae);
  if (side === null)
    return fail(
      'UNSUPPORTED_MODEL',
      'emoji-base',
      `${vae.where} does not say which size its pictures have`,
      'Give sample_size in its config.json.',
    );
  const icons = await renderEmoji('icons', side);
  const all = (await renderEmoji('all', side)).map(({ caption }) => caption);
  const { held } = splitEmoji(icons, STYLE_SPLIT.train, STYLE_SPLIT.held);
  const captions = held.map((e) => e.caption);
  return compose(
    textToImageModel({
      from: emojiModel(all, vae, side / factor, o.textLayers, o.rescaleZeroSnr),
      train: 'everything',
      mixedPrecision: o.mixedPrecision,
    }),
    ...commonPlugins(emojiBaseOptions, o, options, captions),
    cachedLatents(emojiData(icons.slice(0, o.limitItems), side, o.trainBatchSize), o.quiet ? {} : { onProgress: preparation() }),
    denoisingOf(o),
    graphCapture(),
    ema({ decay: o.emaDecay, restartAt: Math.floor(o.maxTrainSteps * 0.05) }),
    saveModel(o.outputDir, { half: true }),
    summary(o.outputDir),
    emojiFigures({
      outputDir: o.outputDir,
      captions,
      galleries: (tell) => galleriesOf(icons, { noto: (pixels) => pixels }, tell),
      sampling: samplingOf(o),
      ...(o.quiet ? {} : { onProgress: preparation() }),
      before: false,
    }),
  );
}
