import type { Scalar, Tensor4D } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { type Batch, type Context, fail, type Host, type Model, OBJECTIVE, type Objective } from '../../core/index.js';
import { normalsOf } from '../devices/compute/normals.js';
import { squaredErrors } from '../devices/compute/operations.js';
import type { TextToImage } from '../models/text-to-image.js';

export interface DenoisingOptions {
  /** gamma of min-SNR weighting (Hang et al. 2023); off by default. */
  readonly snrGamma?: number;
  /** Strength of noise added per image and channel (crosslabs 2023); 0 by default. */
  readonly noiseOffset?: number;
  /** How often a caption is left empty, for classifier-free guidance; 0 by default. */
  readonly captionDropout?: number;
}

/** A model that the denoising objective and the samplers can work with. */
export const isTextToImage = (model: Model): model is TextToImage => 'predict' in model && 'noise' in model;

/**
 * The denoising objective (Ho et al. 2020): t uniform, x_t = sqrt(abar) x_0 + sqrt(1 - abar) noise, mean squared error to
 * noise, v = sqrt(abar) noise - sqrt(1 - abar) x_0 or x_0, whichever the model's noise schedule says. Batches hold
 * `images` [n, h, w, 3] in [-1, 1] and texts. Every draw belongs to an example, never to its place in a batch.
 */
export const denoising = (options: DenoisingOptions = {}) => {
  const { snrGamma, noiseOffset = 0, captionDropout = 0 } = options;

  /** Mean loss over the batch; `timestep` fixes t for all, as evaluation does. */
  function lossAt(context: Context, model: Model, batch: Batch, timestep?: number): Scalar {
    if (!isTextToImage(model)) return fail('MODEL_UNFIT', 'denoising', 'the model is no text-to-image model', 'Use textToImageModel().');
    const { alphasCumprod, config } = model.noise;
    const latents = model.codec.encode(batch.tensors.images as Tensor4D);
    const [n, h, w, c] = latents.shape;
    const timesteps: number[] = [];
    const texts: string[] = [];
    for (const [i, id] of batch.ids.entries()) {
      timesteps.push(timestep ?? context.draw('timestep', id).integer(alphasCumprod.length));
      const dropped = captionDropout > 0 && context.mode === 'train' && context.draw('caption', id).uniform() < captionDropout;
      texts.push(dropped ? '' : (batch.strings?.text?.[i] ?? ''));
    }
    const column = (of: (abar: number) => number) =>
      tf.tensor4d(
        timesteps.map((t) => of(alphasCumprod[t])),
        [n, 1, 1, 1],
      );
    const drawn = (name: string, shape: number[]) =>
      normalsOf(
        batch.ids.map((id) => context.draw(name, id)),
        shape,
      ) as Tensor4D;
    const noise = drawn('noise', [h, w, c]);
    const e = noiseOffset > 0 ? noise.add<Tensor4D>(drawn('noise-offset', [1, 1, c]).mul(noiseOffset)) : noise;
    const [signal, spread] = [column((a) => Math.sqrt(a)), column((a) => Math.sqrt(1 - a))];
    const noisy = latents.mul(signal).add(e.mul(spread)) as Tensor4D;
    const target =
      config.prediction_type === 'epsilon' ? e : config.prediction_type === 'sample' ? latents : e.mul(signal).sub(latents.mul(spread));
    const predicted = model.predict(context, noisy, timesteps, model.encode(context, texts));
    const each = squaredErrors(predicted, target);
    if (snrGamma === undefined) return each.mean() as Scalar;
    const weights = timesteps.map((t) => minSnrWeight(alphasCumprod[t], snrGamma, config.prediction_type));
    return each.mul(tf.tensor1d(weights)).mean() as Scalar;
  }

  return {
    name: 'denoising',
    fills: OBJECTIVE,
    apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        if (snrGamma !== undefined && !(snrGamma > 0))
          problems.add('OPTION_INVALID', 'denoising', `snrGamma is ${snrGamma}`, 'Give a number above 0, or leave it out.');
        if (!(noiseOffset >= 0))
          problems.add('OPTION_INVALID', 'denoising', `noiseOffset is ${noiseOffset}`, 'Give a number of at least 0.');
        if (!(captionDropout >= 0 && captionDropout <= 1))
          problems.add('OPTION_INVALID', 'denoising', `captionDropout is ${captionDropout}`, 'Give a number from 0 to 1.');
      });
    },
    loss: (context: Context, model: Model, batch: Batch) => lossAt(context, model, batch),
    lossAt,
  } satisfies Objective & Record<string, unknown>;
};

/** min(snr, gamma) / snr for epsilon, min(snr, gamma) / (snr + 1) for v, min(snr, gamma) for the image itself. */
export function minSnrWeight(abar: number, gamma: number, prediction: 'epsilon' | 'v_prediction' | 'sample'): number {
  const snr = abar / (1 - abar);
  const least = Math.min(snr, gamma);
  if (prediction === 'sample') return least;
  // At snr 0 the limit is 1 for epsilon.
  if (prediction === 'epsilon') return snr === 0 ? 1 : least / snr;
  return least / (snr + 1);
}
