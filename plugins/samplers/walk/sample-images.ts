import { makeContext, type Random, refuseInvalid, type Tensors } from '../../../core/index.js';
import type { Tensor4D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { TextToImage } from '../../models/stable-diffusion/text-to-image.js';
import { guided } from './guidance.js';
import { checkSampling, checkSize, type SampleOptions, sizeOf } from './sample-options.js';

/** Milliseconds after which timers and signals are let in between two steps. */
const BREATH = 100;

/** Pixels that are drawn at once where no batch size is given, and decoded at once. */
const PIXELS_AT_ONCE = 48 * 32 * 32;

/** Pixels [n, h, w, 3] in [-1, 1] on the host. */
export interface SampledImages {
  readonly shape: [n: number, height: number, width: number, channels: number];
  readonly data: Float32Array;
  /** Whether all were finite before they were clipped: where not, the weights are ruined. */
  readonly finite: boolean;
}

/**
 * Draws `imagesPerPrompt` images of each prompt, those of one prompt in a row; null where `stop`, asked between steps, said yes. Noise belongs to the
 * prompt's place in the list and to which of its images it is, so that the same list and seed give the same start whatever the weights, the batch size
 * and the number of images. Options that do not fit each other or the model are OPTION_INVALID.
 */
export async function sampleImages(
  model: TextToImage,
  parameters: Tensors,
  random: Random,
  prompts: readonly string[],
  options: SampleOptions,
): Promise<SampledImages>;
export async function sampleImages(
  model: TextToImage,
  parameters: Tensors,
  random: Random,
  prompts: readonly string[],
  options: SampleOptions & { readonly stop: () => boolean },
): Promise<SampledImages | null>;
export async function sampleImages(
  model: TextToImage,
  parameters: Tensors,
  random: Random,
  prompts: readonly string[],
  options: SampleOptions & { readonly stop?: () => boolean },
): Promise<SampledImages | null> {
  refuseInvalid((problems) => {
    const check = problems.options('sample');
    checkSampling(check, prompts.length, options);
    checkSize(check, model, options);
  });
  const { steps, guidance, guidanceRescale = 0, imagesPerPrompt = 1, sampler } = options;
  const { height, width } = sizeOf(model, options);
  const decodedAtOnce = Math.max(1, Math.floor(PIXELS_AT_ONCE / (height * width)));
  const batchSize = options.batchSize ?? decodedAtOnce;
  const negative = [options.negativePrompt ?? null].flat();
  /** One entry an image. */
  const wanted = prompts.flatMap((prompt, place) =>
    Array.from({ length: imagesPerPrompt }, (_, which) => ({ prompt, away: negative[negative.length === 1 ? 0 : place], place, which })),
  );
  const context = makeContext(model, { mode: 'evaluate', parameters });
  const { factor } = model.codec;
  const shape: [number, number, number] = [height / factor, width / factor, model.channels];
  const parts: Float32Array[] = [];
  let breath = performance.now();
  let finite = true;
  for (let from = 0; from < wanted.length; from += batchSize) {
    const some = wanted.slice(from, from + batchSize);
    const noise = (name: string) => {
      const size = shape[0] * shape[1] * shape[2];
      const out = new Float32Array(some.length * size);
      for (const [i, { place, which }] of some.entries()) random.item(name, which, place).normals(out.subarray(i * size, (i + 1) * size));
      return tf.tensor4d(out, [some.length, ...shape]);
    };
    const walk = sampler.walk(model.noise, steps);
    const texts = some.map(({ prompt }) => prompt);
    const conditions = tf.tidy(() => ({
      ...model.encode(context, guidance === 1 ? texts : [...some.map(({ away }) => away), ...texts]),
    }));
    const predict = (sample: Tensor4D, t: number): Tensor4D => {
      if (guidance === 1) return model.predict(context, sample, new Array(some.length).fill(t), conditions);
      const both = tf.concat([sample, sample]) as Tensor4D;
      return guided(model.predict(context, both, new Array(2 * some.length).fill(t), conditions), guidance, guidanceRescale);
    };
    let sample = tf.tidy(() => noise('sample').mul<Tensor4D>(walk.initialSigma));
    try {
      for (const [index, t] of walk.timesteps.entries()) {
        if (options.stop?.()) return null;
        const next = tf.tidy(() => {
          const prediction = predict(sample.mul(walk.inputScale(index)), t);
          return walk.step(prediction, index, sample, () => noise(`sample:${index}`));
        });
        sample.dispose();
        sample = next;
        options.onStep?.(from * walk.timesteps.length + (index + 1) * some.length, wanted.length * walk.timesteps.length);
        // Lets timers and signals in, and keeps the host from queueing the whole walk.
        if (index % 8 === 7 || performance.now() - breath > BREATH) {
          await new Promise((resolve) => setTimeout(resolve, 0));
          breath = performance.now();
        }
      }
      for (let first = 0; first < some.length; first += decodedAtOnce) {
        const [image, notFinite] = tf.tidy(() => {
          const part = sample.slice([first, 0, 0, 0], [Math.min(decodedAtOnce, some.length - first), -1, -1, -1]);
          const decoded = model.codec.decode(context, part);
          // x - x is 0 for every finite x, and NaN for the others.
          return [decoded.clipByValue(-1, 1), decoded.sub(decoded).sum()];
        });
        parts.push((await image.data()) as Float32Array);
        if ((await notFinite.data())[0] !== 0) finite = false;
        image.dispose();
        notFinite.dispose();
      }
    } finally {
      walk.dispose();
      tf.dispose(conditions);
      sample.dispose();
    }
  }
  const data = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return { shape: [wanted.length, height, width, 3], data, finite };
}

/** Each image by itself, its values in [0, 1]. */
export function picturesOf({ shape: [count, height, width, channels], data }: SampledImages): Float32Array[] {
  const size = height * width * channels;
  return Array.from({ length: count }, (_, i) => data.slice(i * size, (i + 1) * size).map((x) => (x + 1) / 2));
}

/** Pictures in a row of a grid: a row for each prompt where it has several, else eight prompts in a row. */
export const columnsOf = (promptCount: number, imagesPerPrompt = 1): number =>
  Math.min(8, imagesPerPrompt > 1 ? imagesPerPrompt : promptCount);
