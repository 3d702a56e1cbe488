import * as tf from '@tensorflow/tfjs';
import { type Batch, makeContext, type Random, seededRandom, type Tensors } from '../../core/index.js';
import type { TextToImage } from '../../plugins/models/stable-diffusion/text-to-image.js';
import { denoising } from '../../plugins/objectives/denoising.js';
import { picturesOf, sampleImages } from '../../plugins/samplers/walk/sample-images.js';
import type { SampleOptions } from '../../plugins/samplers/walk/sample-options.js';
import { SIDE } from './data.js';
import type { Emoji } from './noto.js';

/** A set of images to be compared with: which emoji, in which style. */
export interface Gallery {
  readonly style: string;
  readonly emoji: readonly Emoji[];
  readonly pixels: readonly Float32Array[];
}

/** How well a model draws captions in a style. */
export interface Figures {
  /** Mean loss over t = 50, 150, ..., 950 with fixed noise, on the first gallery's images of the captions. */
  readonly loss: Readonly<Record<string, number>>;
  /** Share of samples whose nearest image, within each gallery alone, shows the right emoji. */
  readonly nearest: Readonly<Record<string, number>>;
  /** Share whose nearest image among all galleries is the right emoji in that style. */
  readonly nearestOfAll: Readonly<Record<string, number>>;
}

const TIMESTEPS = Array.from({ length: 10 }, (_, i) => 50 + 100 * i);

/** Halves the resolution: the distance is taken between 2 x 2 means. */
function pooled(pixels: Float32Array): Float32Array {
  const half = SIDE / 2;
  const out = new Float32Array(half * half * 3);
  for (let y = 0; y < SIDE; y++)
    for (let x = 0; x < SIDE; x++)
      for (let k = 0; k < 3; k++) out[((y >> 1) * half + (x >> 1)) * 3 + k] += pixels[(y * SIDE + x) * 3 + k] / 4;
  return out;
}

function distance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum;
}

export interface Drawn {
  readonly figures: Figures;
  /** One image a caption, in [0, 1]. */
  readonly samples: readonly Float32Array[];
}

/** Judges weights on captions: losses on the captions' images in each gallery, and what it draws for them. */
export async function judge(
  model: TextToImage,
  weights: Tensors,
  captions: readonly string[],
  galleries: readonly Gallery[],
  sampling: SampleOptions & { readonly stop: () => boolean },
  random: Random = seededRandom(0),
): Promise<Drawn | null> {
  const context = makeContext(model, { mode: 'evaluate', parameters: weights, draw: (name, id) => random.item(`judge:${name}`, 0, id) });
  const { lossAt } = denoising();
  const loss: Record<string, number> = {};
  // The first gallery is the one that is being learnt.
  for (const { style, emoji, pixels } of galleries.slice(0, 1)) {
    const images = captions.map((caption) => pixels[emoji.findIndex((e) => e.caption === caption)]);
    const all = tf.tensor4d(
      concatenated(images).map((x) => 2 * x - 1),
      [images.length, SIDE, SIDE, 3],
    );
    const batch: Batch = {
      items: images.length,
      ids: captions.map((_, i) => i),
      epoch: 0,
      tensors: { images: all },
      strings: { text: captions },
    };
    const means: number[] = [];
    for (const t of TIMESTEPS) {
      // Lets signals in.
      await new Promise((goOn) => setTimeout(goOn, 0));
      if (sampling.stop()) break;
      const one = tf.tidy(() => lossAt(context, model, batch, t));
      means.push((await one.data())[0]);
      one.dispose();
    }
    all.dispose();
    loss[style] = means.reduce((a, b) => a + b, 0) / means.length;
  }
  const images = await sampleImages(model, weights, random, captions, sampling);
  if (!images) return null;
  const samples = picturesOf(images);
  const small = galleries.map(({ pixels }) => pixels.map(pooled));
  const nearest: Record<string, number> = {};
  const nearestOfAll: Record<string, number> = {};
  const best = samples.map((sample) => {
    const drawn = pooled(sample);
    return small.map((gallery) => {
      // A picture that is not finite is near to none.
      let [least, at] = [Number.POSITIVE_INFINITY, -1];
      for (const [i, other] of gallery.entries()) {
        const d = distance(drawn, other);
        if (d < least) [least, at] = [d, i];
      }
      return { least, at };
    });
  });
  for (const [g, { style, emoji }] of galleries.entries()) {
    const right = best.map((found, i) => emoji[found[g].at]?.caption === captions[i]);
    const closest = best.map((found) => found.every((other) => found[g].least <= other.least));
    nearest[style] = right.filter(Boolean).length / captions.length;
    nearestOfAll[style] = right.filter((ok, i) => ok && closest[i]).length / captions.length;
  }
  return { figures: { loss, nearest, nearestOfAll }, samples };
}

const concatenated = (images: readonly Float32Array[]): Float32Array => {
  const out = new Float32Array(images.length * SIDE * SIDE * 3);
  for (const [i, image] of images.entries()) out.set(image, i * SIDE * SIDE * 3);
  return out;
};
