// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

import { exp4 } from './functions';
import { at, put, some } from './memory';

/** out = exp(scale x - max) / sum over each row of [rows, c]. */
export function softmax(x: usize, out: usize, rows: i32, c: i32, scale: f32): void {
  for (let r = 0; r < rows; r++) {
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
