import type { Tensor4D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { type Size, timeIds } from '../../models/unet/time-ids.js';
import { type Cut, cut, type Decoded } from './decode.js';
import { maskOf } from './mask.js';

/** Parts of images of one size, [n, h, w, 3] in [-1, 1], and what of each was cut out of what (see timeIds); with `factor` also how opaque they are, a `factor`th as large. */
export function shownImages(
  decoded: readonly Decoded[],
  size: Size,
  placeOf: (image: Decoded, at: number) => Omit<Cut, 'size'>,
  factor?: number,
): { images: Tensor4D; mask?: Tensor4D; timeIds: number[][] } {
  const [h, w] = size;
  const area = h * w * 3;
  const data = new Float32Array(decoded.length * area);
  const [down, across] = [h / (factor ?? 1), w / (factor ?? 1)];
  const masks = new Float32Array(factor ? decoded.length * down * across : 0);
  const conditions = decoded.map((image, i) => {
    const shown = { size, ...placeOf(image, i) };
    cut(image, shown, data.subarray(i * area, (i + 1) * area));
    if (factor) maskOf(image, shown, factor, masks.subarray(i * down * across));
    const { left, top, flip } = shown;
    return timeIds({ original: image.original, resized: [image.height, image.width], crop: [top, left], target: size, flipped: flip });
  });
  return {
    images: tf.tensor4d(data, [decoded.length, h, w, 3]),
    ...(factor ? { mask: tf.tensor4d(masks, [decoded.length, down, across, 1]) } : {}),
    timeIds: conditions,
  };
}
