import { z } from 'zod';
import type { AnyPlugin, Filling } from '../../core/index.js';
import { type AugmentationOptions, augmentation } from '../../plugins/data/augmentation.js';
import { graphCapture } from '../../plugins/devices/graph-capture.js';
import { autoencoderModel } from '../../plugins/models/autoencoder-model.js';
import { type AutoencoderKLConfig, parseAutoencoderKLConfig } from '../../plugins/models/vae/config.js';
import { readAutoencoderConfig } from '../../plugins/models/vae/read-autoencoder.js';
import { autoencoding } from '../../plugins/objectives/autoencoding.js';
import { psnr } from '../../plugins/objectives/losses/psnr.js';
import { earlyStopping } from '../../plugins/observe/early-stopping.js';
import { evaluation } from '../../plugins/observe/evaluation.js';
import { whileWatched } from '../../plugins/observe/progress/preparation.js';
import { summary } from '../../plugins/observe/summary.js';
import type { Files } from '../../plugins/persist/formats/files.js';
import { saveAutoencoder } from '../../plugins/persist/save-autoencoder.js';
import { ema } from '../../plugins/weights/ema.js';
import { diffusionOptions, modelOptions, notNegative, type OptionValues } from './options.js';
import { type CommonOptions, commonPlugins } from './plugins.js';

/** Options of the presets that train an autoencoder. */
export const autoencoderTraining = {
  trainBatchSize: diffusionOptions.trainBatchSize.default(8),
  l1Weight: notNegative().default(1).describe('Weight of the mean absolute difference of pixels, which lie in [-1, 1].'),
  l2Weight: notNegative().default(2).describe('Weight of their mean squared difference.'),
  klWeight: notNegative().default(1e-6).describe('Weight of a picture’s divergence from standard normal latents, summed over them.'),
  edgeWeight: notNegative().default(0).describe('Weight of the mean absolute difference of what lies between neighbouring pixels.'),
  useEma: z.boolean().default(false).describe('Average the weights; the average is evaluated and saved.'),
  emaDecay: z.number().min(0).max(0.99999).default(0.999).describe('Decay of the average.'),
  graphCapture: modelOptions.graphCapture,
};

/** What the two presets differ in. */
interface Given {
  readonly from: Files | AutoencoderKLConfig;
  readonly data: Filling<'DATA'>;
  readonly held: Filling<'DATA'> | null;
  readonly evaluateEvery: number | undefined;
  readonly earlyStoppingPatience: number | undefined;
  /** How pictures are shown in training. */
  readonly shown: AugmentationOptions;
  /** Whether weights are written in float16. */
  readonly half: boolean;
}

/** Everything of a run that trains an autoencoder. `given` are the options as they came. */
export function autoencoderPlugins(
  schema: z.ZodObject,
  o: Omit<CommonOptions, 'mixedPrecision'> & OptionValues<typeof autoencoderTraining>,
  given: object,
  { from, data, held, evaluateEvery, earlyStoppingPatience, shown, half }: Given,
): AnyPlugin[] {
  return [
    autoencoderModel({ from }),
    data,
    ...((shown.flip ?? 0) + (shown.colours ?? 0) > 0 ? [augmentation(shown)] : []),
    autoencoding({ l1: o.l1Weight, l2: o.l2Weight, kl: o.klWeight, edge: o.edgeWeight }),
    ...(o.graphCapture ? [graphCapture()] : []),
    ...commonPlugins(schema, { ...o, mixedPrecision: 'no' }, given),
    ...(o.useEma ? [ema({ decay: o.emaDecay })] : []),
    ...(held
      ? [
          evaluation(held, {
            measures: { 'psnr.held': psnr },
            ...(o.quiet ? {} : whileWatched()),
            ...(evaluateEvery === undefined ? {} : { every: evaluateEvery }),
          }),
        ]
      : []),
    ...(earlyStoppingPatience === undefined ? [] : [earlyStopping({ patience: earlyStoppingPatience })]),
    saveAutoencoder(o.outputDir, { half }),
    summary(o.outputDir),
  ];
}

/** What the pictures of an autoencoder are like: how many pixels a latent's side has, and their usual side, where its config says. */
export async function usualPictures(from: Files | object): Promise<{ readonly factor: number; readonly usual: number | null }> {
  const config = 'read' in from ? await readAutoencoderConfig(from as Files) : from;
  const { sample_size: size } = config as { sample_size?: unknown };
  return { factor: 2 ** (parseAutoencoderKLConfig(config).block_out_channels.length - 1), usual: typeof size === 'number' ? size : null };
}
