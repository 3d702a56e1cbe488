import { z } from 'zod';
import { type Composition, compose, fail } from '../core/index.js';
import { lora } from '../plugins/adapters/lora.js';
import { cachedLatents } from '../plugins/data/cached-latents.js';
import { graphCapture } from '../plugins/devices/graph-capture.js';
import { pictureSizes } from '../plugins/models/stable-diffusion/picture-sizes.js';
import { textToImageModel } from '../plugins/models/text-to-image-model.js';
import { preparation } from '../plugins/observe/progress/preparation.js';
import { summary } from '../plugins/observe/summary.js';
import { folder } from '../plugins/persist/formats/folder.js';
import { saveLora } from '../plugins/persist/save-lora.js';
import { denoisingOf } from './common/denoising-of.js';
import { devRun } from './common/fast-dev-run.js';
import type { EmojiOptions } from './common/option-types/emoji.js';
import { count, diffusionOptions, optimizerOptions, samplingOptions, steppedRunOptions, text } from './common/options.js';
import { emojiBaseFolder } from './common/package-root.js';
import { parseOptions } from './common/parse-options.js';
import { commonPlugins } from './common/plugins.js';
import { samplingOf } from './common/sampling.js';
import { emojiData, STYLE_SPLIT } from './emoji/data.js';
import { emojiFigures } from './emoji/figures.js';
import { type Figures, galleriesOf } from './emoji/judge.js';
import { delft, renderEmoji, splitEmoji } from './emoji/noto.js';

export type { EmojiOptions };

/** The options of {@link emoji}, as a schema. */
export const emojiOptions = z.strictObject({
  ...steppedRunOptions,
  ...optimizerOptions,
  ...diffusionOptions,
  ...samplingOptions,
  outputDir: steppedRunOptions.outputDir.default('runs/emoji'),
  pretrainedModelNameOrPath: text().optional().describe('The base model; the one that comes with the package by default.'),
  maxTrainSteps: count().default(250).describe('Length of the run in optimizer steps.'),
  learningRate: optimizerOptions.learningRate.default(2e-3),
  lrScheduler: optimizerOptions.lrScheduler.default('cosine'),
  lrWarmupSteps: count(0).default(10).describe('Steps over which the rate rises from 0.'),
  trainBatchSize: diffusionOptions.trainBatchSize.default(8),
  rank: count().default(8).describe('Rank of the adapters.'),
  heldOut: count().max(STYLE_SPLIT.held).default(24).describe('Captions to judge the style by.'),
});

/** All linear and convolution layers of the denoiser but those of the time embedding: attention alone leaves colours as they were. */
const EMOJI_TARGETS = [
  'to_q',
  'to_k',
  'to_v',
  'to_out.0',
  'ff.net.0.proj',
  'ff.net.2',
  'proj_in',
  'proj_out',
  'conv1',
  'conv2',
  'conv_shortcut',
  'conv_in',
  'conv_out',
  'downsamplers.0.conv',
  'upsamplers.0.conv',
  'time_emb_proj',
] as const;

/** The main job: teaches the base model to draw in another style, from 64 images, with LoRA. */
export async function emoji(options: EmojiOptions = {}): Promise<Composition> {
  const o = devRun(parseOptions('emoji', emojiOptions, options));
  const base = folder(o.pretrainedModelNameOrPath ?? emojiBaseFolder());
  const { usual: side } = await pictureSizes(base);
  if (side === null)
    return fail('UNSUPPORTED_MODEL', 'emoji', `${base.where} does not say which size its pictures have`, 'Use a model of emoji-base.');
  const icons = await renderEmoji('icons', side);
  const { train, held } = splitEmoji(icons, STYLE_SPLIT.train, STYLE_SPLIT.held);
  const captions = held.slice(0, o.heldOut).map((e) => e.caption);
  const adapter = lora({ rank: o.rank, targets: EMOJI_TARGETS });
  return compose(
    textToImageModel({
      from: base,
      train: 'nothing',
      mixedPrecision: o.mixedPrecision,
    }),
    adapter,
    ...commonPlugins(emojiOptions, o, options, captions),
    cachedLatents(emojiData(train.slice(0, o.limitItems), side, o.trainBatchSize, delft), o.quiet ? {} : { onProgress: preparation() }),
    denoisingOf(o),
    graphCapture(),
    saveLora(o.outputDir, adapter),
    summary(o.outputDir),
    emojiFigures({
      outputDir: o.outputDir,
      captions,
      galleries: async (tell) => galleriesOf(await renderEmoji('all', side), { delft, noto: (pixels) => pixels }, tell),
      sampling: samplingOf(o),
      ...(o.quiet ? {} : { onProgress: preparation() }),
      before: true,
      onFigures: (before, after) => {
        if (before) console.log(table(before, after));
      },
    }),
  );
}

/** The figures before and after, as a table. */
function table(before: Figures, after: Figures): string {
  const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
  const rows: [string, string, string][] = [
    ['', 'base', 'with LoRA'],
    ['denoising loss on delft', before.loss.delft.toFixed(3), after.loss.delft.toFixed(3)],
    ['nearest delft image is the right emoji', percent(before.nearest.delft), percent(after.nearest.delft)],
    ['nearest of all images is it, in delft', percent(before.nearestOfAll.delft), percent(after.nearestOfAll.delft)],
    ['nearest noto image is the right emoji', percent(before.nearest.noto), percent(after.nearest.noto)],
  ];
  return [
    '',
    'On captions the adapter was not trained on:',
    ...rows.map(([name, a, b]) => `  ${name.padEnd(42)}${a.padStart(10)}${b.padStart(12)}`),
  ].join('\n');
}
