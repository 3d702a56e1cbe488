import { join } from 'node:path';
import { z } from 'zod';
import { type Composition, compose } from '../core/index.js';
import { arrays } from '../plugins/data/arrays.js';
import { type Emoji, renderEmoji, splitEmoji } from '../plugins/data/emoji/noto.js';
import { splitWords, wordTokenizer } from '../plugins/models/clip/tokenizer.js';
import { textToImageModel } from '../plugins/models/text-to-image-model.js';
import { denoising } from '../plugins/objectives/denoising.js';
import { summary } from '../plugins/observe/summary.js';
import { folder } from '../plugins/persist/formats/folder.js';
import { saveModel } from '../plugins/persist/save-model.js';
import { ddim } from '../plugins/samplers/ddim.js';
import { ema } from '../plugins/weights/ema.js';
import { diffusionOptions, flag, optimizerOptions, runOptions, samplingOptions } from './common/options.js';
import { commonPlugins } from './common/plugins.js';
import { emojiFigures } from './emoji/figures.js';

export const emojiBaseOptions = z.strictObject({
  ...runOptions,
  ...optimizerOptions,
  ...diffusionOptions,
  ...samplingOptions,
  outputDir: runOptions.outputDir.default('runs/emoji-base'),
  maxTrainSteps: z.coerce.number().int().min(1).default(4400).describe('Length of the run in optimizer steps.'),
  learningRate: optimizerOptions.learningRate.default(1e-3),
  lrScheduler: optimizerOptions.lrScheduler.default('cosine'),
  lrWarmupSteps: optimizerOptions.lrWarmupSteps.default(200),
  trainBatchSize: diffusionOptions.trainBatchSize.default(128),
  textLayers: z.coerce.number().int().min(0).default(0).describe('Layers of the text encoder.'),
  emaDecay: z.coerce.number().min(0).max(0.99999).default(0.999).describe('Decay of the averaged weights that are saved.'),
  rescaleZeroSnr: flag().default(false).describe('Rescale the noise schedule to zero terminal SNR.'),
});

export type EmojiBaseOptions = z.input<typeof emojiBaseOptions>;

const SIDE = 32;
const TOKENS = 12;

/** The emoji base model's configuration: a small UNet on 2 x 2 blocks of pixels, with a small CLIP text encoder. */
export const emojiModel = (words: readonly string[], textLayers: number, rescaleZeroSnr = false) => ({
  unet: {
    sample_size: SIDE / 2,
    in_channels: 12,
    out_channels: 12,
    block_out_channels: [48, 64, 96],
    layers_per_block: 1,
    down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'] as ('DownBlock2D' | 'CrossAttnDownBlock2D')[],
    up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'] as ('UpBlock2D' | 'CrossAttnUpBlock2D')[],
    cross_attention_dim: 128,
    attention_head_dim: 4,
    norm_num_groups: 8,
  },
  textEncoder: {
    vocab_size: words.length + 2,
    hidden_size: 128,
    intermediate_size: 256,
    num_hidden_layers: textLayers,
    num_attention_heads: 4,
    max_position_embeddings: TOKENS,
  },
  // With the usual 0.02 words are told apart much later.
  textStart: { token: 1, position: 0.3 },
  tokenizer: wordTokenizer(words, TOKENS),
  noise: {
    beta_schedule: 'squaredcos_cap_v2' as const,
    prediction_type: 'v_prediction' as const,
    timestep_spacing: 'trailing' as const,
    rescale_betas_zero_snr: rescaleZeroSnr,
  },
  block: 2,
});

/** All words of all emoji's names, so that a caption the base was not trained on still has words. */
export const vocabulary = (all: readonly Emoji[]): string[] => [...new Set(all.flatMap(({ caption }) => splitWords(caption)))].sort();

/** Images in [-1, 1] and captions as DATA. */
export const emojiData = (emoji: readonly Emoji[], batchSize: number, style: (pixels: Float32Array) => Float32Array = (p) => p) => {
  const size = SIDE * SIDE * 3;
  const data = new Float32Array(emoji.length * size);
  for (const [i, { pixels }] of emoji.entries())
    data.set(
      style(pixels).map((x) => 2 * x - 1),
      i * size,
    );
  return arrays(
    { images: { dtype: 'float32', shape: [emoji.length, SIDE, SIDE, 3], data } },
    { batchSize, strings: { text: emoji.map((e) => e.caption) } },
  );
};

/** How samples are drawn: with guidance, the noise must be recomputed from the clipped image. */
export const emojiSampling = ({ numInferenceSteps, guidanceScale }: { numInferenceSteps: number; guidanceScale: number }) => ({
  sampler: ddim({ useClippedModelOutput: true }),
  steps: numInferenceSteps,
  guidance: guidanceScale,
  batchSize: 48,
});

/** How many captions the style is taught on, and how many it is judged by. */
export const STYLE_SPLIT = { train: 64, held: 48 } as const;

/** Trains the base model that the emoji job starts from, on Noto's icons. */
export async function emojiBase(options: EmojiBaseOptions = {}): Promise<Composition> {
  const o = emojiBaseOptions.parse(options);
  const icons = await renderEmoji('icons', SIDE);
  const words = vocabulary(await renderEmoji('all', SIDE));
  const { held } = splitEmoji(icons, STYLE_SPLIT.train, STYLE_SPLIT.held);
  return compose(
    textToImageModel({ from: emojiModel(words, o.textLayers, o.rescaleZeroSnr), train: 'everything' }),
    emojiData(icons, o.trainBatchSize),
    denoising({ snrGamma: o.snrGamma, noiseOffset: o.noiseOffset, captionDropout: o.captionDropout }),
    ...commonPlugins(o),
    ema({ decay: o.emaDecay, restartAt: Math.floor(o.maxTrainSteps * 0.05) }),
    saveModel(folder(join(o.outputDir, 'model')), { half: true, averaged: folder(join(o.outputDir, 'model-averaged')) }),
    summary(o.outputDir),
    emojiFigures({
      outputDir: o.outputDir,
      captions: held.map((e) => e.caption),
      galleries: async () => [{ style: 'noto', emoji: icons, pixels: icons.map((e) => e.pixels) }],
      sampling: emojiSampling(o),
      before: false,
    }),
  );
}
