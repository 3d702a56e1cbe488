import { type Batch, macrotask, makeContext, type Random, seededRandom, type Tensors } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import type { TextToImage } from '../../plugins/models/stable-diffusion/text-to-image.js';
import { denoising } from '../../plugins/objectives/denoising.js';
import { picturesOf, sampleImages } from '../../plugins/samplers/walk/sample-images.js';
import type { SampleOptions } from '../../plugins/samplers/walk/sample-options.js';
import type { Emoji } from './noto.js';

/** A set of images to be compared with: which emoji, in which style. */
export interface Gallery {
  readonly style: string;
  readonly emoji: readonly Emoji[];
  /** How each looks from afar: means over 16 x 16 squares. */
  readonly small: readonly Float32Array[];
  /** One of them as it is learnt, side x side x 3 in [0, 1]. */
  picture(emoji: Emoji): Float32Array;
}

/** Draws emoji once for galleries in several styles, each made of the pixels as they are. `onProgress` hears how many are drawn. */
export async function galleriesOf(
  emoji: readonly Emoji[],
  styles: Readonly<Record<string, (pixels: Float32Array) => Float32Array>>,
  onProgress?: (done: number, of: number) => void,
): Promise<Gallery[]> {
  const galleries = Object.entries(styles).map(([style, of]) => ({
    style,
    emoji,
    small: [] as Float32Array[],
    of,
    picture: (one: Emoji) => of(one.draw()),
  }));
  for (const [i, one] of emoji.entries()) {
    // From afar it makes no difference how finely edges are drawn, and there are more than a thousand.
    const pixels = one.draw(1);
    for (const { small, of } of galleries) small.push(pooled(of(pixels)));
    onProgress?.(i + 1, emoji.length);
    // Lets signals in.
    await macrotask();
  }
  return galleries;
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

/** Pictures that the autoencoder takes at once. */
const ENCODED_AT_ONCE = 8;

/** Distances are taken between means over so many squares along a side. */
const POOLED = 16;

function pooled(pixels: Float32Array): Float32Array {
  const side = Math.sqrt(pixels.length / 3);
  const block = side / POOLED;
  const out = new Float32Array(POOLED * POOLED * 3);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const into = (Math.floor(y / block) * POOLED + Math.floor(x / block)) * 3;
      for (let k = 0; k < 3; k++) out[into + k] += pixels[(y * side + x) * 3 + k] / block ** 2;
    }
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

/** Judges weights on captions: losses on the captions' images in each gallery, and what it draws for them. `onLoss` hears at how many of the times there are losses. */
export async function judge(
  model: TextToImage,
  weights: Tensors,
  captions: readonly string[],
  galleries: readonly Gallery[],
  sampling: SampleOptions & { readonly stop: () => boolean; readonly onLoss?: (done: number, of: number) => void },
  random: Random = seededRandom(0),
): Promise<Drawn | null> {
  const context = makeContext(model, { mode: 'evaluate', parameters: weights, draw: (name, id) => random.item(`judge:${name}`, 0, id) });
  const { lossAt } = denoising();
  const loss: Record<string, number> = {};
  // The first gallery is the one that is being learnt.
  for (const { style, emoji, picture } of galleries.slice(0, 1)) {
    sampling.onLoss?.(0, TIMESTEPS.length);
    const images = captions.map((caption) => picture(emoji.find((e) => e.caption === caption) as Emoji));
    const side = Math.sqrt(images[0].length / 3);
    const parts = Array.from({ length: Math.ceil(images.length / ENCODED_AT_ONCE) }, (_, i) =>
      images.slice(i * ENCODED_AT_ONCE, (i + 1) * ENCODED_AT_ONCE),
    );
    const moments = tf.tidy(() =>
      tf.concat(
        parts.map((some) =>
          tf.tidy(() => model.codec.moments(context, tf.tensor4d(concatenated(some), [some.length, side, side, 3]).mul(2).sub(1))),
        ),
      ),
    );
    const batch: Batch = {
      items: images.length,
      ids: captions.map((_, i) => i),
      epoch: 0,
      tensors: { moments },
      strings: { text: captions },
    };
    const means: number[] = [];
    for (const [i, t] of TIMESTEPS.entries()) {
      // Lets signals in.
      await new Promise((goOn) => setTimeout(goOn, 0));
      if (sampling.stop()) break;
      const one = tf.tidy(() => lossAt(context, model, batch, t));
      means.push((await one.data())[0]);
      one.dispose();
      sampling.onLoss?.(i + 1, TIMESTEPS.length);
    }
    moments.dispose();
    loss[style] = means.reduce((a, b) => a + b, 0) / means.length;
  }
  const images = await sampleImages(model, weights, random, captions, sampling);
  if (!images) return null;
  const samples = picturesOf(images);
  const nearest: Record<string, number> = {};
  const nearestOfAll: Record<string, number> = {};
  const best = samples.map((sample) => {
    const drawn = pooled(sample);
    return galleries.map(({ small }) => {
      // A picture that is not finite is near to none.
      let [least, at] = [Number.POSITIVE_INFINITY, -1];
      for (const [i, other] of small.entries()) {
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
  const out = new Float32Array(images.reduce((sum, { length }) => sum + length, 0));
  for (const [i, image] of images.entries()) out.set(image, i * image.length);
  return out;
};
