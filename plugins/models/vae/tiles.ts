import type { Tensor4D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';

/** How a picture is cut: lengths of what goes in, and of what comes out. */
export interface Tiling {
  /** Side of a tile, and from one tile's start to the next one's, in pixels of what goes in. */
  readonly side: number;
  readonly step: number;
  /** How much of each tile is kept, and over how much of that the tile before is faded out, in pixels of what comes out. */
  readonly kept: number;
  readonly blend: number;
}

/** Adds x's start, faded in linearly, to the end of `before`, faded out, along an axis; the rest of x follows. */
function faded(before: Tensor4D, x: Tensor4D, axis: 1 | 2, most: number): Tensor4D {
  const extent = Math.min(before.shape[axis], x.shape[axis], most);
  if (extent === 0) return x;
  const part = (t: Tensor4D, from: number, size: number) => {
    const [begin, sizes] = [[0, 0, 0, 0], [...t.shape]];
    begin[axis] = from;
    sizes[axis] = size;
    return t.slice(begin as [number, number, number, number], sizes as [number, number, number, number]);
  };
  const shape = [1, 1, 1, 1];
  shape[axis] = extent;
  const share = tf.tensor(
    Float32Array.from({ length: extent }, (_, i) => i / extent),
    shape,
  );
  const end = part(before, before.shape[axis] - extent, extent);
  const mixed = end.mul(tf.sub(1, share)).add<Tensor4D>(part(x, 0, extent).mul(share));
  const rest = x.shape[axis] - extent;
  return rest === 0 ? mixed : tf.concat([mixed, part(x, extent, rest)], axis);
}

/**
 * `compute` over overlapping tiles of x [n, h, w, c], put together as diffusers' tiled_encode and tiled_decode do it: each tile is faded into
 * the one above, then into the one to its left, which are themselves faded already. Memory grows with a tile, not with the picture.
 */
export function tiled(x: Tensor4D, { side, step, kept, blend }: Tiling, compute: (tile: Tensor4D) => Tensor4D): Tensor4D {
  return tf.tidy(() => {
    const [n, h, w, c] = x.shape;
    let above: Tensor4D[] = [];
    const rows: Tensor4D[] = [];
    for (let top = 0; top < h; top += step) {
      const row: Tensor4D[] = [];
      for (let left = 0; left < w; left += step)
        row.push(
          tf.tidy(() => {
            const size: [number, number, number, number] = [n, Math.min(side, h - top), Math.min(side, w - left), c];
            let tile = compute(x.slice([0, top, left, 0], size));
            if (top > 0) tile = faded(above[row.length], tile, 1, blend);
            if (left > 0) tile = faded(row[row.length - 1], tile, 2, blend);
            return tile;
          }),
        );
      const whole = row.map((tile) => {
        const [, height, width, channels] = tile.shape;
        return tile.slice([0, 0, 0, 0], [n, Math.min(kept, height), Math.min(kept, width), channels]);
      });
      rows.push(tf.concat(whole, 2));
      above = row;
    }
    return tf.concat(rows, 1);
  });
}

/** `compute` over so many examples of x at a time. */
export function sliced(x: Tensor4D, together: number, compute: (slice: Tensor4D) => Tensor4D): Tensor4D {
  const n = x.shape[0];
  if (n <= together) return compute(x);
  return tf.tidy(() => {
    const done: Tensor4D[] = [];
    for (let from = 0; from < n; from += together) {
      const slice = x.slice([from, 0, 0, 0], [Math.min(together, n - from), ...x.shape.slice(1)] as [number, number, number, number]);
      done.push(compute(slice));
      slice.dispose();
    }
    return tf.concat(done);
  });
}
