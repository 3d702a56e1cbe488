import type { OptionChecks } from '../../../core/index.js';
import type { Size } from '../../models/unet/time-ids.js';

/** Sizes that images are cut to in place of a square. */
export interface BucketOptions {
  /** Sides are multiples of it; 64 by default. */
  readonly step?: number;
  /** The shortest side; half the resolution by default. Images that are smaller than their size may have shorter ones. */
  readonly min?: number;
  /** The longest side; twice the resolution by default. */
  readonly max?: number;
  /** Enlarge images that are smaller than their size; by default they have a smaller size. */
  readonly upscale?: boolean;
}

/** The same with every default filled in. */
export type Buckets = Required<BucketOptions>;

export const bucketsOf = (resolution: number, { step = 64, min, max, upscale = false }: BucketOptions): Buckets => ({
  step,
  min: min ?? Math.floor(resolution / 2),
  max: max ?? 2 * resolution,
  upscale,
});

/** The square among the sizes. */
export const squareOf = (resolution: number, { step }: Buckets): Size => {
  const side = Math.floor(resolution / step) * step;
  return [side, side];
};

/** All sizes of about resolution^2 pixels, never more, whose sides are multiples of `step` from `min` to `max`; the square always. */
function sizesOf(resolution: number, buckets: Buckets): Size[] {
  const { step, min, max } = buckets;
  const sizes: Size[] = [squareOf(resolution, buckets)];
  for (let short = Math.max(1, Math.ceil(min / step)) * step; short < resolution; short += step) {
    const long = Math.floor(resolution ** 2 / (short * step)) * step;
    if (long > short && long <= max) sizes.push([short, long], [long, short]);
  }
  return sizes;
}

/** The share of a picture that is seen in a size, as a fraction: exact, so that every machine finds the same size. */
function seen([height, width]: Size, [h, w]: Size): { readonly part: bigint; readonly whole: bigint } {
  const [a, b] = [BigInt(height) * BigInt(w), BigInt(width) * BigInt(h)];
  return a < b ? { part: a, whole: b } : { part: b, whole: a };
}

/** The size that crops a picture least; of two, the one that comes first. */
function leastCropping(sizes: readonly Size[], picture: Size): Size {
  let best = sizes[0];
  for (const size of sizes.slice(1)) {
    const [now, then] = [seen(picture, size), seen(picture, best)];
    if (now.part * then.whole > then.part * now.whole) best = size;
  }
  return best;
}

/**
 * Says the size that a picture is cut to: of those of resolution^2 pixels the one that crops it least. Where that would enlarge it and `upscale` is not
 * asked for, a size of the next smaller resolution, and so on; null for a picture with a side below the step.
 */
export function sizeChooser(resolution: number, buckets: Buckets): (picture: Size) => Size | null {
  const { step, upscale } = buckets;
  const tables = [sizesOf(resolution, buckets)];
  for (let smaller = Math.ceil(resolution / step - 1) * step; smaller > 0 && !upscale; smaller -= step)
    tables.push(sizesOf(smaller, { ...buckets, min: step }));
  const known = new Map<string, Size | null>();
  return (picture) => {
    const key = picture.join();
    const found = known.get(key);
    if (found !== undefined) return found;
    let chosen: Size | null = null;
    for (const sizes of tables) {
      const size = leastCropping(sizes, picture);
      if (!upscale && (size[0] > picture[0] || size[1] > picture[1])) continue;
      chosen = size;
      break;
    }
    known.set(key, chosen);
    return chosen;
  };
}

/** Whether there are such sizes. */
export function checkBuckets(check: OptionChecks, resolution: number, buckets: Buckets): boolean {
  const { step, min, max } = buckets;
  if (!(check.whole('bucketStep', step, 1) && check.whole('bucketMin', min, 1) && check.whole('bucketMax', max, 1))) return false;
  if (step > resolution) return check.invalid(`bucketStep is ${step}, more than the resolution of ${resolution}`, 'Give less.');
  if (min > max) return check.invalid(`bucketMin is ${min}, more than bucketMax, ${max}`, 'Give the shorter side as bucketMin.');
  const [side] = squareOf(resolution, buckets);
  if (min <= side && max >= side) return true;
  return check.invalid(`the sides from bucketMin ${min} to bucketMax ${max} are without the square’s, ${side}`, 'Give limits around it.');
}

/** A model works on multiples of so many pixels. */
export function checkStep(check: OptionChecks, { step }: Buckets, unit: number): void {
  if (step % unit !== 0)
    check.invalid(`bucketStep is ${step}, and the model works on multiples of ${unit} pixels`, `Give a multiple of ${unit}.`);
}

/** The table of sizes that are used, the widest last: of each, how many images and batches an epoch has. */
export function bucketFacts(sizes: readonly Size[], batchSize: number): (readonly [string, string])[] {
  const counts = new Map<string, { readonly size: Size; images: number }>();
  for (const size of sizes) {
    const known = counts.get(size.join()) ?? { size, images: 0 };
    known.images++;
    counts.set(size.join(), known);
  }
  const ordered = [...counts.values()].sort(({ size: a }, { size: b }) => a[1] * b[0] - b[1] * a[0] || a[0] - b[0]);
  const counted = (n: number, what: string, many: string) => `${n} ${n === 1 ? what : many}`;
  return ordered.map(({ size: [height, width], images }, i) => [
    i === 0 ? 'sizes' : '',
    `${`${width} x ${height}`.padStart(11)}: ${counted(images, 'image', 'images')} in ${counted(Math.ceil(images / batchSize), 'batch', 'batches')}`,
  ]);
}
