// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

// Attention whose scores are computed a few rows at a time and stored nowhere, as in Dao et al. 2022. q, out and the like are [n, lq, heads, d], k and v
// [n, lk, heads, d]; packed, they are panels of 8 columns for each picture and head.

import { exp4 } from './functions';
import { at, multiplyAdd, put, some } from './memory';
import { pack, rows, ROWS } from './tiles';

/** Addresses of `count` rows, `step` numbers from each other; of the last, as often as there are more. */
@inline
function point(room: usize, first: usize, step: i32, count: i32): void {
  for (let i = 0; i < ROWS; i++) store<u32>(room + (i << 2), at(first, min(i, count - 1) * step));
}

@inline
function lanes(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

@inline
function panels(columns: i32): i32 {
  return (columns + 7) >> 3;
}

/**
 * Blocks of `most` queries from .. to of all pictures and heads. keys [lk columns, of d] are packed with the scale, values [d columns, of lk]; sumLogs [n, heads, lq]
 * are told the logarithm of each row's sum of exponentials. `room` has ROWS addresses and most lk numbers.
 */
export function attention(
  q: usize, keys: usize, values: usize, out: usize, sumLogs: usize, heads: i32, lq: i32, lk: i32, d: i32, most: i32, from: i32, to: i32, room: usize,
): void {
  const blocks = (lq + most - 1) / most;
  const scores = room + (ROWS << 2);
  for (let block = from; block < to; block++) {
    const both = block / blocks;
    const first = (block - both * blocks) * most;
    const count = min(most, lq - first);
    const image = both / heads;
    const start = ((image * lq + first) * heads + both - image * heads) * d;
    point(room, at(q, start), heads * d, count);
    rows(room, 1, d, 4, at(keys, both * panels(lk) * d << 3), scores, 0, 0, lk, lk, count);
    for (let i = 0; i < count; i++) store<f32>(at(sumLogs, both * lq + first + i), normalized(at(scores, i * lk), lk));
    point(room, scores, lk, count);
    rows(room, 1, lk, 4, at(values, both * panels(d) * lk << 3), at(out, start), 0, 0, d, heads * d, count);
  }
}

/** Softmax of a row in place; the logarithm of its sum. */
@inline
function normalized(row: usize, c: i32): f32 {
  let top: f32 = -f32.MAX_VALUE;
  for (let j = 0; j < c; j++) top = max(top, load<f32>(at(row, j)));
  const m = f32x4.splat(top);
  let j = 0, sum: f32 = 0;
  let s = f32x4.splat(0);
  for (; j + 4 <= c; j += 4) {
    const v = exp4(f32x4.sub(v128.load(at(row, j)), m));
    v128.store(at(row, j), v);
    s = f32x4.add(s, v);
  }
  sum = lanes(s);
  if (j < c) {
    put(at(row, j), exp4(f32x4.sub(some(at(row, j), c - j), m)), c - j);
    for (; j < c; j++) sum += load<f32>(at(row, j));
  }
  const inverse = f32x4.splat(1 / sum);
  for (j = 0; j < c; j += 4) put(at(row, j), f32x4.mul(some(at(row, j), c - j), inverse), c - j);
  return top + <f32>Math.log(<f64>sum);
}

/**
 * The gradients, of the pictures and heads from .. to: dq like q, dk and dv like k. `keys`, `valuesTurned` [lk columns, of d] and `keysPlain` [d columns, of lk] are packed,
 * the first and the last with the scale. `most` rows are taken at a time. `room` has ROWS addresses, 2 most lk numbers and most panels of d.
 */
export function attentionGrad(
  q: usize, dy: usize, result: usize, sumLogs: usize, keys: usize, valuesTurned: usize, keysPlain: usize, dq: usize, dk: usize, dv: usize,
  heads: i32, lq: i32, lk: i32, d: i32, scale: f32, most: i32, from: i32, to: i32, room: usize,
): void {
  const p = room + (ROWS << 2);
  const ds = at(p, most * lk);
  const packed = at(ds, most * lk);
  const line = heads * d;
  for (let both = from; both < to; both++) {
    const image = both / heads;
    const column = (both - image * heads) * d;
    const ofKeys = image * lk * line + column;
    const turned = both * panels(lk) * d << 3;
    for (let first = 0; first < lq; first += most) {
      const count = min(most, lq - first);
      const start = (image * lq + first) * line + column;
      point(room, at(q, start), line, count);
      rows(room, 1, d, 4, at(keys, turned), p, 0, 0, lk, lk, count);
      point(room, at(dy, start), line, count);
      rows(room, 1, d, 4, at(valuesTurned, turned), ds, 0, 0, lk, lk, count);
      for (let i = 0; i < count; i++) {
        const g = at(dy, start + i * line), r = at(result, start + i * line);
        let s = f32x4.splat(0);
        for (let j = 0; j < d; j += 4) s = multiplyAdd(some(at(g, j), d - j), some(at(r, j), d - j), s);
        const delta = f32x4.splat(lanes(s)), logs = v128.load32_splat(at(sumLogs, both * lq + first + i));
        for (let j = 0; j < lk; j += 4) {
          const here = i * lk + j;
          const share = exp4(f32x4.sub(some(at(p, here), lk - j), logs));
          put(at(p, here), share, lk - j);
          put(at(ds, here), f32x4.mul(share, f32x4.sub(some(at(ds, here), lk - j), delta)), lk - j);
        }
      }
      point(room, ds, lk, count);
      rows(room, 1, lk, 4, at(keysPlain, both * panels(d) * lk << 3), at(dq, start), 0, 0, d, line, count);
      pack(at(dy, start), packed, 1, count, d, 0, line, 1, 0, 1, 0, panels(d));
      columns(room, p, packed, at(dv, ofKeys), first > 0, lk, count, d, line);
      pack(at(q, start), packed, 1, count, d, 0, line, 1, 0, scale, 0, panels(d));
      columns(room, ds, packed, at(dk, ofKeys), first > 0, lk, count, d, line);
    }
  }
}

/** out [lk, d] = what is there, where `more`, plus the transpose of x [count, lk] times what is packed. */
function columns(room: usize, x: usize, packed: usize, out: usize, more: bool, lk: i32, count: i32, d: i32, line: i32): void {
  for (let j = 0; j < lk; j += ROWS) {
    const lines = min(ROWS, lk - j);
    point(room, at(x, j), 1, lines);
    const o = at(out, j * line);
    rows(room, 1, count, lk << 2, packed, o, 0, more ? o : 0, d, line, lines);
  }
}
