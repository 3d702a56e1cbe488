import type { Tensor4D } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { type Context, makeContext, type Random, type Tensors } from '../../../core/index.js';
import type { TextConditions, TextToImage } from '../../models/text-to-image-model.js';
import type { Sampler } from './sampler.js';

export interface SampleOptions {
  readonly sampler: Sampler;
  readonly steps: number;
  /** Classifier-free guidance (Ho and Salimans 2022); 1 turns it off. */
  readonly guidance: number;
  /** Images drawn at once. */
  readonly batchSize?: number;
  readonly onStep?: (done: number, of: number) => void;
}

/** Milliseconds after which timers and signals are let in between two steps. */
const BREATH = 100;

/** Pixels [n, h, w, 3] in [-1, 1] on the host. */
export interface SampledImages {
  readonly shape: [n: number, height: number, width: number, channels: number];
  readonly data: Float32Array;
  /** Whether all were finite before they were clipped: where not, the weights are ruined. */
  readonly finite: boolean;
}

/**
 * Draws one image per prompt and returns them; null where `stop`, asked between steps, said yes. Noise belongs to the prompt's place in the list, so
 * that the same list and seed give the same start whatever the weights and the batch size.
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
  const { steps, guidance, sampler, batchSize = 16 } = options;
  const context = makeContext(model, { mode: 'evaluate', parameters });
  const side = model.latentSize;
  const shape: [number, number, number] = [side, side, model.channels];
  const parts: Float32Array[] = [];
  let pixels: number[] = [];
  let breath = performance.now();
  let finite = true;
  for (let from = 0; from < prompts.length; from += batchSize) {
    const some = prompts.slice(from, from + batchSize);
    const noise = (name: string) => {
      const size = shape[0] * shape[1] * shape[2];
      const out = new Float32Array(some.length * size);
      for (let i = 0; i < some.length; i++) random.item(name, 0, from + i).normals(out.subarray(i * size, (i + 1) * size));
      return tf.tensor4d(out, [some.length, ...shape]);
    };
    const walk = sampler.walk(model.noise, steps);
    const told = tf.tidy(() => ({ ...model.encode(context, guidance === 1 ? some : [...some.map(() => null), ...some]) }));
    let sample = noise('sample');
    try {
      for (const [index, t] of walk.timesteps.entries()) {
        if (options.stop?.()) return null;
        const next = tf.tidy(() => {
          const prediction = guided(model, context, sample, t, told, guidance);
          return walk.step(prediction, index, sample, () => noise(`sample:${index}`));
        });
        sample.dispose();
        sample = next;
        options.onStep?.(from * walk.timesteps.length + (index + 1) * some.length, prompts.length * walk.timesteps.length);
        // Lets timers and signals in, and keeps the host from queueing the whole walk.
        if (index % 8 === 7 || performance.now() - breath > BREATH) {
          await new Promise((resolve) => setTimeout(resolve, 0));
          breath = performance.now();
        }
      }
      const [image, notFinite] = tf.tidy(() => {
        const decoded = model.codec.decode(context, sample);
        // x - x is 0 for every finite x, and NaN for the others.
        return [decoded.clipByValue(-1, 1), decoded.sub(decoded).sum()];
      });
      pixels = image.shape.slice(1);
      parts.push((await image.data()) as Float32Array);
      if ((await notFinite.data())[0] !== 0) finite = false;
      image.dispose();
      notFinite.dispose();
    } finally {
      walk.dispose();
      tf.dispose(told);
      sample.dispose();
    }
  }
  const data = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return { shape: [prompts.length, pixels[0], pixels[1], pixels[2]], data, finite };
}

function guided(model: TextToImage, context: Context, sample: Tensor4D, t: number, told: TextConditions, guidance: number): Tensor4D {
  const n = sample.shape[0];
  if (guidance === 1) return model.predict(context, sample, new Array(n).fill(t), told);
  const both = model.predict(context, tf.concat([sample, sample]) as Tensor4D, new Array(2 * n).fill(t), told);
  const [without, wanted] = tf.split(both, 2);
  return without.add(wanted.sub(without).mul(guidance)) as Tensor4D;
}
