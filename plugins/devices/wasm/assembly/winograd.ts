// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

// Convolutions of 3 x 3 with stride 1 by Winograd's minimal filtering F(2 x 2, 3 x 3): Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015.
// A tile of 4 x 4 pixels and a filter are transformed, multiplied number by number, summed over channels, and transformed back to 2 x 2 results: 16
// multiplications in place of 36.

import { at } from './memory';
import { rows, ROWS } from './tiles';

/** Packed filters [panels, 9, k, 8] to transformed ones [16, panels, k, 8]: G g G^T. The panels from .. to of all are done. */
export function winogradFilter(packed: usize, out: usize, k: i32, panels: i32, from: i32, to: i32): void {
  const half = f32x4.splat(0.5);
  const tap = k << 5;
  for (let panel = from; panel < to; panel++)
    // Four columns at a time.
    for (let i = 0; i < 2 * k; i++) {
      const p = packed + panel * 9 * tap + (i << 4);
      const o = out + panel * tap + (i << 4);
      for (let x = 0; x < 4; x++) {
        // What of each row of the filter goes into column x.
        const g0 = mixed(p, tap, x, half), g1 = mixed(p + 3 * tap, tap, x, half), g2 = mixed(p + 6 * tap, tap, x, half);
        const ends = f32x4.add(g0, g2);
        const position = panels * tap;
        v128.store(o + x * position, g0);
        v128.store(o + (4 + x) * position, f32x4.mul(half, f32x4.add(ends, g1)));
        v128.store(o + (8 + x) * position, f32x4.mul(half, f32x4.sub(ends, g1)));
        v128.store(o + (12 + x) * position, g2);
      }
    }
}

@inline
function mixed(p: usize, tap: i32, x: i32, half: v128): v128 {
  if (x == 0) return v128.load(p);
  if (x == 3) return v128.load(p + 2 * tap);
  const ends = f32x4.add(v128.load(p), v128.load(p + 2 * tap));
  const middle = v128.load(p + tap);
  return f32x4.mul(half, x == 1 ? f32x4.add(ends, middle) : f32x4.sub(ends, middle));
}

/**
 * out [images, oh, ow, n] = x [images, ih, iw, k] convolved with transformed filters, plus bias [n] and rest (like out), each 0 where there is none. k and n are multiples
 * of 4. Blocks of `tiles` tiles from .. to are done; `room` has ROWS addresses, and 16 tiles (k + n) numbers.
 */
export function winograd(
  x: usize, filters: usize, out: usize, bias: usize, rest: usize, zeros: usize, images: i32, ih: i32, iw: i32, k: i32, oh: i32, ow: i32, n: i32,
  top: i32, left: i32, tiles: i32, from: i32, to: i32, room: usize,
): void {
  const th = (oh + 1) >> 1, tw = (ow + 1) >> 1;
  const all = images * th * tw;
  const inside = room + (ROWS << 2);
  const products = at(inside, 16 * tiles * k);
  const filter = ((n + 7) >> 3) * k << 5;
  for (let block = from; block < to; block++) {
    const first = block * tiles;
    const count = min(tiles, all - first);
    for (let i = 0; i < count; i++) {
      const line = (first + i) / tw;
      const image = line / th;
      transformed(x, zeros, at(inside, i * k), tiles * k, image, 2 * (line - image * th) - top, 2 * (first + i - line * tw) - left, ih, iw, k);
    }
    for (let place = 0; place < 16; place++) {
      for (let i = 0; i < ROWS; i++) store<u32>(room + (i << 2), at(inside, (place * tiles + min(i, count - 1)) * k));
      rows(room, 1, k, 4, filters + place * filter, at(products, place * tiles * n), 0, 0, n, n, count);
    }
    for (let i = 0; i < count; i++) {
      const line = (first + i) / tw;
      const image = line / th;
      back(at(products, i * n), tiles * n, out, bias, rest, image * oh, 2 * (line - image * th), 2 * (first + i - line * tw), oh, ow, n);
    }
  }
}

/** The tile whose first pixel is (y0, x0): B^T d B, each of its 16 numbers `step` numbers from the one before. */
@inline
function transformed(x: usize, zeros: usize, out: usize, step: i32, image: i32, y0: i32, x0: i32, ih: i32, iw: i32, k: i32): void {
  for (let column = 0; column < 4; column++) {
    const z = x0 + column;
    const isInside = z >= 0 && z < iw;
    const p0 = isInside && y0 >= 0 && y0 < ih ? at(x, ((image * ih + y0) * iw + z) * k) : zeros;
    const p1 = isInside && y0 + 1 >= 0 && y0 + 1 < ih ? at(x, ((image * ih + y0 + 1) * iw + z) * k) : zeros;
    const p2 = isInside && y0 + 2 >= 0 && y0 + 2 < ih ? at(x, ((image * ih + y0 + 2) * iw + z) * k) : zeros;
    const p3 = isInside && y0 + 3 >= 0 && y0 + 3 < ih ? at(x, ((image * ih + y0 + 3) * iw + z) * k) : zeros;
    const o = at(out, column * step);
    for (let c = 0; c < k << 2; c += 16) {
      const d0 = v128.load(p0 + c), d1 = v128.load(p1 + c), d2 = v128.load(p2 + c), d3 = v128.load(p3 + c);
      v128.store(o + c, f32x4.sub(d0, d2));
      v128.store(at(o + c, 4 * step), f32x4.add(d1, d2));
      v128.store(at(o + c, 8 * step), f32x4.sub(d2, d1));
      v128.store(at(o + c, 12 * step), f32x4.sub(d1, d3));
    }
  }
  for (let line = 0; line < 4; line++, out = at(out, 4 * step))
    for (let c = 0; c < k << 2; c += 16) {
      const o = out + c;
      const d0 = v128.load(o), d1 = v128.load(at(o, step)), d2 = v128.load(at(o, 2 * step)), d3 = v128.load(at(o, 3 * step));
      v128.store(o, f32x4.sub(d0, d2));
      v128.store(at(o, step), f32x4.add(d1, d2));
      v128.store(at(o, 2 * step), f32x4.sub(d2, d1));
      v128.store(at(o, 3 * step), f32x4.sub(d1, d3));
    }
}

/** A^T m A of a tile's 16 numbers: the pixels (y, x) to (y + 1, x + 1), those that there are, below line `above` of all. */
@inline
function back(m: usize, step: i32, out: usize, bias: usize, rest: usize, above: i32, y: i32, x: i32, oh: i32, ow: i32, n: i32): void {
  const start = ((above + y) * ow + x) * n;
  const isWide = x + 1 < ow, isHigh = y + 1 < oh;
  for (let c = 0; c < n; c += 4) {
    const p = at(m, c);
    let a0 = f32x4.splat(0), a1 = a0, b0 = a0, b1 = a0;
    if (bias) a0 = v128.load(at(bias, c));
    a1 = a0; b0 = a0; b1 = a0;
    for (let column = 0; column < 4; column++) {
      const q = at(p, column * step);
      const m1 = v128.load(at(q, 4 * step)), m2 = v128.load(at(q, 8 * step));
      const low = f32x4.add(v128.load(q), f32x4.add(m1, m2)), high = f32x4.sub(f32x4.sub(m1, m2), v128.load(at(q, 12 * step)));
      if (column < 3) { a0 = f32x4.add(a0, low); b0 = f32x4.add(b0, high); }
      if (column == 1) { a1 = f32x4.add(a1, low); b1 = f32x4.add(b1, high); }
      if (column > 1) { a1 = f32x4.sub(a1, low); b1 = f32x4.sub(b1, high); }
    }
    put(out, rest, start + c, a0);
    if (isWide) put(out, rest, start + c + n, a1);
    if (isHigh) put(out, rest, start + c + ow * n, b0);
    if (isWide && isHigh) put(out, rest, start + c + (ow + 1) * n, b1);
  }
}

@inline
function put(out: usize, rest: usize, i: i32, v: v128): void {
  v128.store(at(out, i), rest ? f32x4.add(v, v128.load(at(rest, i))) : v);
}
