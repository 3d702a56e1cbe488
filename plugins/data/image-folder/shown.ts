import type { Tensor4D } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { timeIds } from '../../models/unet/time-ids.js';
import { cut, type Decoded } from './decode.js';

/** Where an image is cut, in pixels, and whether it is mirrored. */
export interface Place {
  readonly left: number;
  readonly top: number;
  readonly flip: boolean;
}

/** Squares of images, [n, side, side, 3] in [-1, 1], and what of each was cut out of what (see timeIds). */
export function shownImages(
  decoded: readonly Decoded[],
  side: number,
  placeOf: (image: Decoded, at: number) => Place,
): { images: Tensor4D; timeIds: number[][] } {
  const size = side * side * 3;
  const data = new Float32Array(decoded.length * size);
  const conditions = decoded.map((image, i) => {
    const { left, top, flip } = placeOf(image, i);
    cut(image, side, left, top, flip, data.subarray(i * size, (i + 1) * size));
    const { original, height, width } = image;
    return timeIds({ original, resized: [height, width], crop: [top, left], target: [side, side], flipped: flip });
  });
  return { images: tf.tensor4d(data, [decoded.length, side, side, 3]), timeIds: conditions };
}
