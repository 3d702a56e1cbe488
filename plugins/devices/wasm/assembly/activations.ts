// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

import { erf4, exp4, sigmoid4, siluSlope4 } from './functions';
import { at, put, some } from './memory';

/** Numbers of a block of silu and siluGrad. */
const BLOCK: i32 = 4096;

/** out = x sigmoid(x), the blocks from .. to. */
export function silu(x: usize, out: usize, count: i32, from: i32, to: i32): void {
  count = min(count, to * BLOCK);
  for (let i = from * BLOCK; i < count; i += 4) {
    const v = some(at(x, i), count - i);
    put(at(out, i), f32x4.mul(v, sigmoid4(v)), count - i);
  }
}

/** out = dy times the slope of z sigmoid(z). out may be dy or z. */
export function siluGrad(z: usize, dy: usize, out: usize, count: i32, from: i32, to: i32): void {
  count = min(count, to * BLOCK);
  for (let i = from * BLOCK; i < count; i += 4)
    put(at(out, i), f32x4.mul(some(at(dy, i), count - i), siluSlope4(some(at(z, i), count - i))), count - i);
}

/** out [rows, c] = value times gelu(gate), x [rows, 2 c] holding values, then gates; the rows from .. to. */
export function geglu(x: usize, out: usize, c: i32, from: i32, to: i32): void {
  x = at(x, 2 * from * c);
  out = at(out, from * c);
  for (let r = from; r < to; r++) {
    for (let j = 0; j < c; j += 4) {
      const gate = some(at(x, c + j), c - j);
      const e = exp4(f32x4.mul(f32x4.splat(-0.5), f32x4.mul(gate, gate)));
      const phi = f32x4.mul(f32x4.splat(0.5), f32x4.add(f32x4.splat(1), erf4(f32x4.mul(gate, f32x4.splat(0.70710678118)), e)));
      put(at(out, j), f32x4.mul(some(at(x, j), c - j), f32x4.mul(gate, phi)), c - j);
    }
    x = at(x, 2 * c);
    out = at(out, c);
  }
}

export function gegluGrad(x: usize, dy: usize, dx: usize, c: i32, from: i32, to: i32): void {
  x = at(x, 2 * from * c);
  dx = at(dx, 2 * from * c);
  dy = at(dy, from * c);
  for (let r = from; r < to; r++) {
    for (let j = 0; j < c; j += 4) {
      const gate = some(at(x, c + j), c - j);
      const g = some(at(dy, j), c - j);
      const e = exp4(f32x4.mul(f32x4.splat(-0.5), f32x4.mul(gate, gate)));
      const phi = f32x4.mul(f32x4.splat(0.5), f32x4.add(f32x4.splat(1), erf4(f32x4.mul(gate, f32x4.splat(0.70710678118)), e)));
      const slope = f32x4.add(phi, f32x4.mul(f32x4.mul(gate, e), f32x4.splat(0.3989422804)));
      put(at(dx, j), f32x4.mul(g, f32x4.mul(gate, phi)), c - j);
      put(at(dx, c + j), f32x4.mul(f32x4.mul(g, some(at(x, j), c - j)), slope), c - j);
    }
    x = at(x, 2 * c);
    dx = at(dx, 2 * c);
    dy = at(dy, c);
  }
}
