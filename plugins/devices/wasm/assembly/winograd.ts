// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

// Convolutions of 3 x 3 with stride 1 by Winograd's minimal filtering F(4 x 4, 3 x 3): Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015.
// A tile of 6 x 6 pixels and a filter are transformed, multiplied number by number, summed over channels, and transformed back to 4 x 4 results: 36
// multiplications in place of 144.

import { at, multiplyAdd } from './memory';
import { rows, ROWS } from './tiles';

// The filter's polynomial is evaluated at 0, a, -a, b, -b and infinity: with a^2 = 1/2 and b^2 = 2 sums are rounded least. Of doubled pixels a is 1, by which the number
// of -a is always 0.

@inline
function near(doubled: i32): f32 {
  return doubled ? 1 : 0.70710678118654752;
}

@inline
function far(doubled: i32): f32 {
  return doubled ? 1.5 : 1.41421356237309505;
}

/**
 * Packed filters [panels, 9, k, 8] to transformed ones [36, panels, k, 8]: G g G^T. The panels from .. to of all are done; `room` has 18 vectors. `doubled` as of
 * `winograd`.
 */
export function winogradFilter(packed: usize, out: usize, k: i32, panels: i32, doubled: i32, from: i32, to: i32, room: usize): void {
  const tap = k << 5;
  const place = panels * tap;
  for (let panel = from; panel < to; panel++)
    // Four columns at a time.
    for (let i = 0; i < 2 * k; i++) {
      const p = packed + panel * 9 * tap + (i << 4);
      const o = out + panel * tap + (i << 4);
      for (let x = 0; x < 3; x++) filtered(p + x * tap, 3 * tap, room + (x << 4), 48, doubled);
      for (let y = 0; y < 6; y++) filtered(room + y * 48, 16, o + 6 * y * place, place, doubled);
    }
}

/** G g of three vectors, `step` bytes from each other, to six, `next` bytes from each other. */
@inline
function filtered(g: usize, step: i32, out: usize, next: i32, doubled: i32): void {
  const g0 = v128.load(g), g1 = v128.load(g + step), g2 = v128.load(g + 2 * step);
  const a = near(doubled), b = far(doubled);
  const a2: f32 = doubled ? 1 : 0.5, b2: f32 = doubled ? 2.25 : 2;
  v128.store(out, f32x4.mul(f32x4.splat(1 / (a2 * b2)), g0));
  both(g0, g1, g2, a, a2, 1 / (2 * a2 * (a2 - b2)), out + next, next);
  both(g0, g1, g2, b, b2, 1 / (2 * b2 * (b2 - a2)), out + 3 * next, next);
  v128.store(out + 5 * next, g2);
}

/** (g0 + p g1 + p^2 g2) times a factor, and the same of -p. */
@inline
function both(g0: v128, g1: v128, g2: v128, p: f32, square: f32, factor: f32, out: usize, next: i32): void {
  const even = f32x4.add(f32x4.mul(f32x4.splat(factor), g0), f32x4.mul(f32x4.splat(factor * square), g2));
  const odd = f32x4.mul(f32x4.splat(factor * p), g1);
  v128.store(out, f32x4.add(even, odd));
  v128.store(out + next, f32x4.sub(even, odd));
}

/**
 * out [images, oh, ow, n] = x [images, ih, iw, k] convolved with transformed filters, plus bias [n] and rest (like out), each 0 where there is none. k and n are multiples
 * of 4. With `doubled` 1, x [images, ih / 2, iw / 2, k] is what it is convolved of with every pixel twice in both directions, and top and left are 1: where a tile's third
 * number, which is then always 0, takes part, nothing is multiplied. Blocks of `tiles` tiles from .. to are done; `room` has ROWS addresses, and 36 tiles (k + n) numbers.
 */
export function winograd(
  x: usize, filters: usize, out: usize, bias: usize, rest: usize, zeros: usize, images: i32, ih: i32, iw: i32, k: i32, oh: i32, ow: i32, n: i32,
  top: i32, left: i32, doubled: i32, tiles: i32, from: i32, to: i32, room: usize,
): void {
  const th = (oh + 3) >> 2, tw = (ow + 3) >> 2;
  const all = images * th * tw;
  const inside = room + (ROWS << 2);
  const products = at(inside, 36 * tiles * k);
  const filter = ((n + 7) >> 3) * k << 5;
  for (let block = from; block < to; block++) {
    const first = block * tiles;
    const count = min(tiles, all - first);
    for (let i = 0; i < count; i++) {
      const line = (first + i) / tw;
      const image = line / th;
      transformed(x, zeros, at(inside, i * k), tiles * k << 2, image, 4 * (line - image * th) - top, 4 * (first + i - line * tw) - left, ih, iw, k, doubled);
    }
    for (let place = 0; place < 36; place++) {
      const o = at(products, place * tiles * n);
      if (doubled && (place / 6 == 2 || place % 6 == 2)) {
        for (let j = 0; j < count * n; j += 4) v128.store(at(o, j), f32x4.splat(0));
        continue;
      }
      for (let i = 0; i < ROWS; i++) store<u32>(room + (i << 2), at(inside, (place * tiles + min(i, count - 1)) * k));
      rows(room, 1, k, 4, filters + place * filter, o, 0, 0, n, n, count);
    }
    for (let i = 0; i < count; i++) {
      const line = (first + i) / tw;
      const image = line / th;
      back(at(products, i * n), tiles * n << 2, out, bias, rest, image * oh, 4 * (line - image * th), 4 * (first + i - line * tw), oh, ow, n, doubled);
    }
  }
}

/** The pixel (y, z) of an image, or zeros. */
@inline
function pixel(x: usize, zeros: usize, image: i32, y: i32, z: i32, ih: i32, iw: i32, k: i32, doubled: i32): usize {
  return y >= 0 && y < ih && z >= 0 && z < iw ? at(x, ((image * (ih >> doubled) + (y >> doubled)) * (iw >> doubled) + (z >> doubled)) * k) : zeros;
}

/** The tile whose first pixel is (y0, x0): B^T d B, each of its 36 numbers `step` bytes from the one before. */
function transformed(
  x: usize, zeros: usize, out: usize, step: i32, image: i32, y0: i32, x0: i32, ih: i32, iw: i32, k: i32, doubled: i32,
): void {
  for (let column = 0; column < 6; column++) {
    const z = x0 + column;
    const p0 = pixel(x, zeros, image, y0, z, ih, iw, k, doubled), p1 = pixel(x, zeros, image, y0 + 1, z, ih, iw, k, doubled);
    const p2 = pixel(x, zeros, image, y0 + 2, z, ih, iw, k, doubled), p3 = pixel(x, zeros, image, y0 + 3, z, ih, iw, k, doubled);
    const p4 = pixel(x, zeros, image, y0 + 4, z, ih, iw, k, doubled), p5 = pixel(x, zeros, image, y0 + 5, z, ih, iw, k, doubled);
    const o = out + column * step;
    for (let c = 0; c < k << 2; c += 16)
      turned(v128.load(p0 + c), v128.load(p1 + c), v128.load(p2 + c), v128.load(p3 + c), v128.load(p4 + c), v128.load(p5 + c), o + c, 6 * step, doubled);
  }
  for (let line = 0; line < 6; line++, out += 6 * step)
    for (let o = out; o < out + (k << 2); o += 16)
      turned(v128.load(o), v128.load(o + step), v128.load(o + 2 * step), v128.load(o + 3 * step), v128.load(o + 4 * step), v128.load(o + 5 * step), o, step, doubled);
}

/** B^T d of six vectors, to six, `step` bytes from each other. */
@inline
function turned(d0: v128, d1: v128, d2: v128, d3: v128, d4: v128, d5: v128, out: usize, step: i32, doubled: i32): void {
  const a = f32x4.splat(near(doubled)), b = f32x4.splat(far(doubled));
  const a2 = f32x4.splat(doubled ? 1 : 0.5), b2 = f32x4.splat(doubled ? 2.25 : 2);
  const product = f32x4.splat(doubled ? 2.25 : 1), sum = f32x4.splat(doubled ? 3.25 : 2.5);
  const even = f32x4.sub(d4, f32x4.mul(b2, d2)), odd = f32x4.mul(a, f32x4.sub(d3, f32x4.mul(b2, d1)));
  const evenFar = f32x4.sub(d4, f32x4.mul(a2, d2)), oddFar = f32x4.mul(b, f32x4.sub(d3, f32x4.mul(a2, d1)));
  v128.store(out, f32x4.add(f32x4.sub(f32x4.mul(product, d0), f32x4.mul(sum, d2)), d4));
  v128.store(out + step, f32x4.add(even, odd));
  v128.store(out + 2 * step, f32x4.sub(even, odd));
  v128.store(out + 3 * step, f32x4.add(evenFar, oddFar));
  v128.store(out + 4 * step, f32x4.sub(evenFar, oddFar));
  v128.store(out + 5 * step, f32x4.add(f32x4.sub(f32x4.mul(product, d1), f32x4.mul(sum, d3)), d5));
}

/** A^T m A of a tile's 36 numbers: the pixels (y, x) to (y + 3, x + 3), those that there are, below line `above` of all. */
function back(
  m: usize, step: i32, out: usize, bias: usize, rest: usize, above: i32, y: i32, x: i32, oh: i32, ow: i32, n: i32, doubled: i32,
): void {
  const high = min(4, oh - y), wide = min(4, ow - x);
  const a = near(doubled), b = far(doubled);
  const a1 = f32x4.splat(a), b1 = f32x4.splat(b);
  const a2 = f32x4.splat(doubled ? 1 : 0.5), b2 = f32x4.splat(doubled ? 2.25 : 2);
  const a3 = f32x4.splat(doubled ? 1 : a * 0.5), b3 = f32x4.splat(doubled ? 3.375 : b * 2);
  const next = 6 * step;
  // Down the columns first, four numbers in the place of six.
  for (let column = 0; column < 6; column++)
    for (let p = m + column * step; p < m + column * step + (n << 2); p += 16) {
      const m1 = v128.load(p + next), m2 = v128.load(p + 2 * next), m3 = v128.load(p + 3 * next), m4 = v128.load(p + 4 * next);
      const even = f32x4.add(m1, m2), odd = f32x4.sub(m1, m2), evenFar = f32x4.add(m3, m4), oddFar = f32x4.sub(m3, m4);
      v128.store(p, f32x4.add(v128.load(p), f32x4.add(even, evenFar)));
      v128.store(p + next, mixed(a1, odd, b1, oddFar));
      v128.store(p + 2 * next, mixed(a2, even, b2, evenFar));
      v128.store(p + 3 * next, f32x4.add(mixed(a3, odd, b3, oddFar), v128.load(p + 5 * next)));
    }
  for (let line = 0; line < high; line++) {
    const start = ((above + y + line) * ow + x) * n;
    for (let c = 0; c < n; c += 4) {
      const p = m + line * next + (c << 2);
      const m1 = v128.load(p + step), m2 = v128.load(p + 2 * step), m3 = v128.load(p + 3 * step), m4 = v128.load(p + 4 * step);
      const even = f32x4.add(m1, m2), odd = f32x4.sub(m1, m2), evenFar = f32x4.add(m3, m4), oddFar = f32x4.sub(m3, m4);
      const more = bias ? v128.load(at(bias, c)) : f32x4.splat(0);
      put(out, rest, start + c, f32x4.add(more, f32x4.add(v128.load(p), f32x4.add(even, evenFar))));
      if (wide > 1) put(out, rest, start + c + n, f32x4.add(more, mixed(a1, odd, b1, oddFar)));
      if (wide > 2) put(out, rest, start + c + 2 * n, f32x4.add(more, mixed(a2, even, b2, evenFar)));
      if (wide > 3) put(out, rest, start + c + 3 * n, f32x4.add(more, f32x4.add(mixed(a3, odd, b3, oddFar), v128.load(p + 5 * step))));
    }
  }
}

/** a x + b y. */
@inline
function mixed(a: v128, x: v128, b: v128, y: v128): v128 {
  return multiplyAdd(a, x, f32x4.mul(b, y));
}

@inline
function put(out: usize, rest: usize, i: i32, v: v128): void {
  v128.store(at(out, i), rest ? f32x4.add(v, v128.load(at(rest, i))) : v);
}
