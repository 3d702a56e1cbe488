import {
  type Batch,
  type Context,
  fail,
  type Host,
  type Model,
  OBJECTIVE,
  type Objective,
  type Source,
  type Trial,
} from '../../core/index.js';
import type { Scalar, Tensor, Tensor4D } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import { normalsOf } from '../devices/compute/normals.js';
import { squaredErrors } from '../devices/compute/squared-errors.js';
import { lostCaptions } from '../models/clip/lost-text.js';
import { isTextToImage } from '../models/stable-diffusion/text-to-image.js';
import { requireFiniteLatents } from '../models/vae/finite-latents.js';
import { minSnrWeight } from './losses/min-snr-weight.js';

/**
 * What a denoiser takes at the most, in multiples of a picture's own bytes: its largest tensor (attention of 64 x 64 latents with 8 heads: 170), and all
 * that it keeps at a time (Stable Diffusion at 512 pixels: 4,000).
 */
const MOST_MADE = 256;
const MOST_KEPT = 10_000;

export interface DenoisingOptions {
  /** gamma of min-SNR weighting (Hang et al. 2023); off by default. */
  readonly snrGamma?: number;
  /** Strength of noise added per image and channel (crosslabs 2023); 0 by default. */
  readonly noiseOffset?: number;
  /** How often a caption is left empty, for classifier-free guidance; 0 by default. */
  readonly captionDropout?: number;
}

/**
 * The denoising objective (Ho et al. 2020): t uniform, x_t = sqrt(abar) x_0 + sqrt(1 - abar) noise, mean squared error to
 * noise, v = sqrt(abar) noise - sqrt(1 - abar) x_0 or x_0, whichever the model's noise schedule says. Batches hold
 * `images` [n, h, w, 3] in [-1, 1], or what the codec made of them as `moments`, and texts; where they have
 * the numbers `weight`, an example's loss counts so many times, and where they have a `mask` [n, h, w, 1] over latents, that of each latent. Every draw belongs to an example, never to its place in a batch.
 * LATENTS_NOT_FINITE names the pictures of which an autoencoder makes no numbers: those of `images`, and of moments where the batch has their names as
 * the column `picture`. That is known one step later, since nothing waits for the device; a guard leaves such a step out.
 */
export const denoising = (options: DenoisingOptions = {}) => {
  const { snrGamma, noiseOffset = 0, captionDropout = 0 } = options;
  let inRun = false;
  /** Sums of the latents of pictures that nobody has looked at yet, [n] each, which are numbers where all of the latents are. */
  let unseen: { readonly sums: Tensor; readonly names: readonly string[] }[] = [];
  /** What is being looked at: a fault, or null. */
  let looking: Promise<unknown> = Promise.resolve(null);

  function note(latents: Tensor4D, { ids, strings, tensors }: Batch): void {
    const names = strings?.picture ?? (tensors.images ? ids.map((id) => `example ${id}`) : null);
    if (names) unseen.push({ sums: tf.keep(latents.sum([1, 2, 3])), names });
  }

  async function faultOf(noted: typeof unseen): Promise<unknown> {
    try {
      const read = await Promise.all(noted.map(({ sums }) => sums.data()));
      for (const [i, { names }] of noted.entries()) requireFiniteLatents(read[i] as Float32Array, names);
      return null;
    } catch (error) {
      return error;
    } finally {
      tf.dispose(noted.map(({ sums }) => sums));
    }
  }

  /** Throws what was found in what was noted before, which the device has computed by now, and begins to look at what was noted since. */
  async function look(): Promise<void> {
    const fault = await looking;
    looking = faultOf(unseen);
    unseen = [];
    if (fault !== null) throw fault;
  }

  const lookAtAll = async (): Promise<void> => {
    await look();
    await look();
  };

  /** Mean loss over the batch; `timestep` fixes t for all, as evaluation does. */
  function lossAt(context: Context, model: Model, batch: Batch, timestep?: number): Scalar {
    if (!isTextToImage(model)) return fail('MODEL_UNFIT', 'denoising', 'the model is no text-to-image model', 'Use textToImageModel().');
    const { alphasCumprod, config } = model.noise;
    const { images, moments, mask } = batch.tensors as Record<string, Tensor4D>;
    const latents = moments ? model.codec.sample(context, moments, batch.ids) : model.codec.encode(context, images, batch.ids);
    if (inRun) note(latents, batch);
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
    const predicted = model.predict(context, noisy, timesteps, model.encode(context, texts), batch.numbers?.timeIds);
    // The root of the weight before squaring is the weight after.
    const root = mask?.sqrt();
    const weighed = (x: Tensor) => (root ? x.mul(root) : x);
    const each = squaredErrors(weighed(predicted), weighed(target));
    const given = batch.numbers?.weight;
    if (snrGamma === undefined && !given) return each.mean() as Scalar;
    const weights = timesteps.map((t, i) => {
      const bySnr = snrGamma === undefined ? 1 : minSnrWeight(alphasCumprod[t], snrGamma, config.prediction_type);
      return bySnr * (given?.[i][0] ?? 1);
    });
    return each.mul(tf.tensor1d(weights)).mean() as Scalar;
  }

  return {
    name: 'denoising',
    fills: OBJECTIVE,
    apply({ hooks, isFirstRank, warn }: Host) {
      inRun = true;
      let data: Source;
      hooks.prepareData.tap((source) => {
        data = source;
        return source;
      });
      hooks.prepareModel.tap((model) => {
        if (isFirstRank() && isTextToImage(model)) for (const what of lostCaptions(model.tokenizer, data, 'captions')) warn(what);
        return model;
      });
      hooks.validate.tap((problems) => {
        const check = problems.options('denoising');
        if (snrGamma !== undefined) check.positive('snrGamma', snrGamma);
        check.notNegative('noiseOffset', noiseOffset);
        // 1 trains without any caption.
        if (!(captionDropout >= 0 && captionDropout <= 1))
          check.invalid(`captionDropout is ${captionDropout}`, 'Give a number from 0 to 1.');
      });
      hooks.onSync.tapPromise(async (sum) => {
        try {
          await look();
        } catch (error) {
          tf.dispose([sum.gradients, sum.loss]);
          throw error;
        }
        return sum;
      });
      // Of an evaluation; a step's record comes while others are made.
      hooks.onRecord.tapPromise(async (record) => {
        if (!('loss' in record)) await lookAtAll();
      });
      hooks.onEnd.tapPromise(lookAtAll);
    },
    async dispose() {
      await looking;
      tf.dispose(unseen.map(({ sums }) => sums));
      unseen = [];
    },
    settings: () => ({ snrGamma: snrGamma ?? null, noiseOffset, captionDropout }),
    loss: (context: Context, model: Model, batch: Batch) => lossAt(context, model, batch),
    trial(model: Model, { shapes }: Source): Trial | null {
      const side = shapes?.images?.[0];
      if (!isTextToImage(model) || side === undefined) return null;
      const { codec, leastSize, channels } = model;
      return {
        side: side / codec.factor,
        least: leastSize,
        named: (units) => `${units * codec.factor} pixels`,
        atMost: { kept: MOST_KEPT * 3 * 4 * side ** 2, largest: MOST_MADE * 3 * 4 * side ** 2 },
        loss(context, _, items, side) {
          // Without the codec, which keeps nothing for the way back.
          const latents = tf.zeros<tf.Rank.R4>([items, side, side, channels]);
          const texts = new Array<string>(items).fill('');
          const predicted = model.predict(context, latents, new Array<number>(items).fill(0), model.encode(context, texts));
          return squaredErrors(predicted, latents).mean() as Scalar;
        },
      };
    },
    lossAt,
  } satisfies Objective & Record<string, unknown>;
};
