// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

// Products and convolutions, as out [rows, n] = the sum over taps of a [rows, k] times b [k, n], where each tap has its own rows of a: a product has
// one tap, a convolution one for each place of its filter. b is packed into panels of 8 columns; tiles of 4 rows by 8 columns stay in registers.

import { at, multiplyAdd, put, some } from './memory';

/** Rows whose addresses are worked out at a time, of which a panel passes by the tiles while it is in the cache. */
export const ROWS: i32 = 24;

/**
 * Packs b into panels [panels, taps, k, 8], times `scale`; columns beyond n are 0. Element (tap, p, j) of matrix t of a batch is at
 * t bBatch + tap tapStep + p rowStep + j columnStep. The panels from .. to of all matrices are done.
 */
export function pack(
  b: usize, out: usize, taps: i32, k: i32, n: i32, tapStep: i32, rowStep: i32, columnStep: i32, bBatch: i32, scale: f32, from: i32, to: i32,
): void {
  const panels = (n + 7) >> 3;
  const s = f32x4.splat(scale);
  for (let panel = from; panel < to; panel++) {
    const t = panel / panels;
    const j = (panel - t * panels) << 3;
    const columns = n - j;
    let o = at(out, panel * taps * k << 3);
    for (let tap = 0; tap < taps; tap++) {
      let p = b + ((t * bBatch + tap * tapStep + j * columnStep) << 2);
      let i = 0;
      if (columnStep == 1) {
        for (; i < k; i++, p += rowStep << 2, o += 32) {
          v128.store(o, f32x4.mul(some(p, columns), s));
          v128.store(o, columns > 4 ? f32x4.mul(some(p + 16, columns - 4), s) : f32x4.splat(0), 16);
        }
        continue;
      }
      if (rowStep == 1 && columns >= 8)
        for (; i + 4 <= k; i += 4, p += 16, o += 128) {
          turn(p, o, columnStep << 2, s);
          turn(p + (columnStep << 4), o + 16, columnStep << 2, s);
        }
      for (; i < k; i++, p += rowStep << 2, o += 32)
        for (let c = 0; c < 8; c++) store<f32>(o + (c << 2), c < columns ? load<f32>(p + ((c * columnStep) << 2)) * scale : 0);
    }
  }
}

/** Four numbers of each of four columns, a column `step` bytes from the next, to four rows of a panel. */
@inline
function turn(p: usize, o: usize, step: i32, s: v128): void {
  const a = v128.load(p), b = v128.load(p + step), c = v128.load(p + 2 * step), d = v128.load(p + 3 * step);
  const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
  const ef = v128.shuffle<f32>(a, b, 2, 6, 3, 7), gh = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(o, f32x4.mul(v128.shuffle<f64>(ab, cd, 0, 2), s));
  v128.store(o + 32, f32x4.mul(v128.shuffle<f64>(ab, cd, 1, 3), s));
  v128.store(o + 64, f32x4.mul(v128.shuffle<f64>(ef, gh, 0, 2), s));
  v128.store(o + 96, f32x4.mul(v128.shuffle<f64>(ef, gh, 1, 3), s));
}

/**
 * out [batch, m, n] = a times b, which is packed, plus bias [n] and rest (like out, and maybe out itself), each 0 where there is none. a's element (i, p) is
 * at i aRow + p aColumn. Blocks of ROWS rows from .. to of all matrices are done; `room` has ROWS addresses for a tap.
 */
export function product(
  a: usize, packed: usize, out: usize, bias: usize, rest: usize, m: i32, k: i32, n: i32, aRow: i32, aColumn: i32, aBatch: i32, packedBatch: i32,
  from: i32, to: i32, room: usize,
): void {
  const blocks = (m + ROWS - 1) / ROWS;
  for (let block = from; block < to; block++) {
    const t = block / blocks;
    const first = (block - t * blocks) * ROWS;
    for (let i = 0; i < ROWS; i++) store<u32>(room + (i << 2), at(a, t * aBatch + min(first + i, m - 1) * aRow));
    const start = (t * m + first) * n;
    rows(room, 1, k, aColumn << 2, at(packed, t * packedBatch), at(out, start), bias, rest ? at(rest, start) : 0, n, n, min(ROWS, m - first));
  }
}

/**
 * out [images, oh, ow, n] = x [images, ih, iw, k] convolved with packed filters of kh x kw taps, plus bias and rest as of `product`. The pixel under tap (ky, kx) of
 * an output's is (y strideH - top + ky, x strideW - left + kx), divided by spreadH and spreadW, for the gradient to what a convolution with that stride was given, and
 * 0 where these do not divide it or it lies outside. `zeros` has k zeros.
 */
export function convolution(
  x: usize, packed: usize, out: usize, bias: usize, rest: usize, zeros: usize, images: i32, ih: i32, iw: i32, k: i32, oh: i32, ow: i32, n: i32,
  kh: i32, kw: i32, strideH: i32, strideW: i32, spreadH: i32, spreadW: i32, top: i32, left: i32, from: i32, to: i32, room: usize,
): void {
  const all = images * oh * ow;
  for (let block = from; block < to; block++) {
    const first = block * ROWS;
    for (let i = 0; i < ROWS; i++) {
      const pixel = min(first + i, all - 1);
      const line = pixel / ow;
      const image = line / oh;
      const y0 = (line - image * oh) * strideH - top, x0 = (pixel - line * ow) * strideW - left;
      let to = room + (i << 2);
      for (let ky = 0; ky < kh; ky++) {
        const y = (y0 + ky) / spreadH;
        const isLine = y0 + ky >= 0 && y < ih && y * spreadH == y0 + ky;
        for (let kx = 0; kx < kw; kx++, to += ROWS << 2) {
          const z = (x0 + kx) / spreadW;
          const isPixel = isLine && x0 + kx >= 0 && z < iw && z * spreadW == x0 + kx;
          store<u32>(to, isPixel ? at(x, ((image * ih + y) * iw + z) * k) : zeros);
        }
      }
    }
    const start = first * n;
    rows(room, kh * kw, k, 4, packed, at(out, start), bias, rest ? at(rest, start) : 0, n, n, min(ROWS, all - first));
  }
}

/** Up to ROWS rows of out [.., n], each `line` numbers from the one before, by all panels. The addresses of a's rows stand in `room`, ROWS for each tap. */
export function rows(
  room: usize, taps: i32, k: i32, step: i32, packed: usize, out: usize, bias: usize, rest: usize, n: i32, line: i32, count: i32,
): void {
  for (let j = 0; j < n; j += 8) {
    for (let i = 0; i < count; i += 4) {
      const o = i * line + j;
      tile(room + (i << 2), taps, k, step, packed, at(out, o), bias ? at(bias, j) : 0, rest ? at(rest, o) : 0, line, n - j, count - i);
    }
    packed = at(packed, taps * k << 3);
  }
}

/** Four rows by eight columns, of which `lines` and `columns` count. */
function tile(
  room: usize, taps: i32, k: i32, step: i32, b: usize, out: usize, bias: usize, rest: usize, next: i32, columns: i32, lines: i32,
): void {
  let s00 = f32x4.splat(0), s01 = s00;
  if (bias) {
    s00 = some(bias, columns);
    if (columns > 4) s01 = some(bias + 16, columns - 4);
  }
  let s10 = s00, s11 = s01, s20 = s00, s21 = s01, s30 = s00, s31 = s01;
  for (let tap = 0; tap < taps; tap++, room += ROWS << 2) {
    let a0: usize = load<u32>(room), a1: usize = load<u32>(room, 4), a2: usize = load<u32>(room, 8), a3: usize = load<u32>(room, 12);
    for (const end = b + (k << 5); b < end; b += 32) {
      const b0 = v128.load(b), b1 = v128.load(b, 16);
      const x0 = v128.load32_splat(a0), x1 = v128.load32_splat(a1), x2 = v128.load32_splat(a2), x3 = v128.load32_splat(a3);
      s00 = multiplyAdd(x0, b0, s00); s01 = multiplyAdd(x0, b1, s01);
      s10 = multiplyAdd(x1, b0, s10); s11 = multiplyAdd(x1, b1, s11);
      s20 = multiplyAdd(x2, b0, s20); s21 = multiplyAdd(x2, b1, s21);
      s30 = multiplyAdd(x3, b0, s30); s31 = multiplyAdd(x3, b1, s31);
      a0 += step; a1 += step; a2 += step; a3 += step;
    }
  }
  line(out, s00, s01, rest, columns);
  if (lines > 1) line(at(out, next), s10, s11, rest ? at(rest, next) : 0, columns);
  if (lines > 2) line(at(out, 2 * next), s20, s21, rest ? at(rest, 2 * next) : 0, columns);
  if (lines > 3) line(at(out, 3 * next), s30, s31, rest ? at(rest, 3 * next) : 0, columns);
}

@inline
function line(out: usize, low: v128, high: v128, rest: usize, columns: i32): void {
  put(out, rest ? f32x4.add(low, some(rest, columns)) : low, columns);
  if (columns > 4) put(out + 16, rest ? f32x4.add(high, some(rest + 16, columns - 4)) : high, columns - 4);
}
