// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

import { at, put, some } from './memory';

@inline
function copy(from: usize, to: usize, count: i32): void {
  let i = 0;
  for (; i + 4 <= count; i += 4) v128.store(at(to, i), v128.load(at(from, i)));
  if (i < count) put(at(to, i), some(at(from, i), count - i), count - i);
}

/** The lines from .. to, each of `width` numbers, `xStep` and `outStep` numbers from the one before. */
export function copyLines(x: usize, out: usize, width: i32, xStep: i32, outStep: i32, from: i32, to: i32): void {
  for (let line = from; line < to; line++) copy(at(x, line * xStep), at(out, line * outStep), width);
}

/** out [.., 2 w, c] with every pixel of the lines from .. to of x [.., w, c] twice in both directions. */
export function upsample(x: usize, out: usize, w: i32, c: i32, from: i32, to: i32): void {
  for (let line = from; line < to; line++) {
    const above = at(out, 4 * line * w * c);
    for (let i = 0; i < w; i++) {
      const pixel = at(x, (line * w + i) * c);
      const o = at(above, 2 * i * c);
      copy(pixel, o, c);
      copy(pixel, at(o, c), c);
    }
    copy(above, at(above, 2 * w * c), 2 * w * c);
  }
}

/** Its gradient: dx [.., w, c], the lines from .. to, as sums over dy [.., 2 w, c]. */
export function upsampleGrad(dy: usize, dx: usize, w: i32, c: i32, from: i32, to: i32): void {
  for (let line = from; line < to; line++)
    for (let i = 0; i < w; i++) {
      const p = at(dy, (4 * line * w + 2 * i) * c), q = at(p, 2 * w * c), o = at(dx, (line * w + i) * c);
      for (let j = 0; j < c; j += 4) {
        const rest = c - j;
        const above = f32x4.add(some(at(p, j), rest), some(at(p, c + j), rest));
        put(at(o, j), f32x4.add(above, f32x4.add(some(at(q, j), rest), some(at(q, c + j), rest))), rest);
      }
    }
}

/** sums [n, c] over the pixels of x [n, pixels, c], of the examples from .. to. */
export function pixelSum(x: usize, sums: usize, pixels: i32, c: i32, from: i32, to: i32): void {
  for (let n = from; n < to; n++)
    for (let j = 0; j < c; j += 4) {
      let s = f32x4.splat(0);
      let p = at(x, n * pixels * c + j);
      for (let i = 0; i < pixels; i++, p = at(p, c)) s = f32x4.add(s, some(p, c - j));
      put(at(sums, n * c + j), s, c - j);
    }
}
