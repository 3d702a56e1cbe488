import type { Cut, Decoded } from './decode.js';

/**
 * How opaque the part of an image is that is cut out: the mean of its alpha over each block of `factor` x `factor` pixels, [h / factor, w / factor] from 0
 * to 1, into `out`. 1 everywhere where it has no alpha.
 */
export function maskOf({ width, alpha }: Decoded, { size: [h, w], left, top, flip }: Cut, factor: number, out: Float32Array): void {
  const columns = w / factor;
  if (!alpha) return void out.fill(1, 0, (h / factor) * columns);
  for (let row = 0; row < h / factor; row++)
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let y = row * factor; y < (row + 1) * factor; y++)
        for (let x = column * factor; x < (column + 1) * factor; x++) sum += alpha[(top + y) * width + left + (flip ? w - 1 - x : x)];
      out[row * columns + column] = sum / (255 * factor * factor);
    }
}
