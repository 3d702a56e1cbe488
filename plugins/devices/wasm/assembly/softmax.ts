// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

import { exp4 } from './functions';
import { at, multiplyAdd, put, some } from './memory';

/** out = exp(scale x - max) / sum over each of the rows from .. to of [rows, c]. */
export function softmax(x: usize, out: usize, c: i32, scale: f32, from: i32, to: i32): void {
  x = at(x, from * c);
  out = at(out, from * c);
  for (let r = from; r < to; r++) {
    let top: f32 = -f32.MAX_VALUE;
    for (let j = 0; j < c; j++) top = max(top, load<f32>(at(x, j)) * scale);
    let sum: f32 = 0;
    const k = f32x4.splat(scale), m = f32x4.splat(top);
    for (let j = 0; j < c; j += 4) {
      const v = exp4(f32x4.sub(f32x4.mul(some(at(x, j), c - j), k), m));
      put(at(out, j), v, c - j);
      for (let l = j; l < min(c, j + 4); l++) sum += load<f32>(at(out, l));
    }
    const inverse = f32x4.splat(1 / sum);
    for (let j = 0; j < c; j += 4) put(at(out, j), f32x4.mul(some(at(out, j), c - j), inverse), c - j);
    x = at(x, c);
    out = at(out, c);
  }
}

/** ds = p (dp - the sum of p dp) scale, likewise. */
export function softmaxGrad(p: usize, dp: usize, ds: usize, c: i32, scale: f32, from: i32, to: i32): void {
  const k = f32x4.splat(scale);
  for (let r = from; r < to; r++) {
    const a = at(p, r * c), b = at(dp, r * c), o = at(ds, r * c);
    let s = f32x4.splat(0);
    for (let j = 0; j < c; j += 4) s = multiplyAdd(some(at(a, j), c - j), some(at(b, j), c - j), s);
    const sum = f32x4.splat(f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1) + (f32x4.extract_lane(s, 2) + f32x4.extract_lane(s, 3)));
    for (let j = 0; j < c; j += 4)
      put(at(o, j), f32x4.mul(some(at(a, j), c - j), f32x4.mul(f32x4.sub(some(at(b, j), c - j), sum), k)), c - j);
  }
}
