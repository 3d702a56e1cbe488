// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

// Over x [pixels, c].

import { at, put, some } from './memory';

/** sums [c] of x. */
export function columnSums(x: usize, pixels: i32, c: i32, sums: usize): void {
  for (let j = 0; j < c; j += 4) {
    let s = f32x4.splat(0);
    let p = at(x, j);
    for (let i = 0; i < pixels; i++, p = at(p, c)) s = f32x4.add(s, some(p, c - j));
    put(at(sums, j), s, c - j);
  }
}

/** sums [c] of (x - mean)^2, mean [c]. */
export function columnSquares(x: usize, mean: usize, pixels: i32, c: i32, sums: usize): void {
  for (let j = 0; j < c; j += 4) {
    let s = f32x4.splat(0);
    const m = some(at(mean, j), c - j);
    let p = at(x, j);
    for (let i = 0; i < pixels; i++, p = at(p, c)) {
      const z = f32x4.sub(some(p, c - j), m);
      s = f32x4.add(s, f32x4.mul(z, z));
    }
    put(at(sums, j), s, c - j);
  }
}

/** out = x factor + addend, both [c]. */
export function scaleShift(x: usize, factor: usize, addend: usize, out: usize, pixels: i32, c: i32): void {
  for (let i = 0; i < pixels; i++) {
    for (let j = 0; j < c; j += 4)
      put(at(out, j), f32x4.add(f32x4.mul(some(at(x, j), c - j), some(at(factor, j), c - j)), some(at(addend, j), c - j)), c - j);
    x = at(x, c);
    out = at(out, c);
  }
}

/** sums of g, and of g (x - mean), each [c]. */
export function gradientSums(g: usize, x: usize, mean: usize, pixels: i32, c: i32, sumG: usize, sumGX: usize): void {
  for (let j = 0; j < c; j += 4) {
    let s = f32x4.splat(0), t = s;
    const m = some(at(mean, j), c - j);
    let gp = at(g, j), xp = at(x, j);
    for (let i = 0; i < pixels; i++, gp = at(gp, c), xp = at(xp, c)) {
      const v = some(gp, c - j);
      s = f32x4.add(s, v);
      t = f32x4.add(t, f32x4.mul(v, f32x4.sub(some(xp, c - j), m)));
    }
    put(at(sumG, j), s, c - j);
    put(at(sumGX, j), t, c - j);
  }
}

/** g = g k1 - x k2 + k3, each k [c]. */
export function combine(g: usize, x: usize, k1: usize, k2: usize, k3: usize, pixels: i32, c: i32): void {
  for (let i = 0; i < pixels; i++) {
    for (let j = 0; j < c; j += 4) {
      const rest = c - j;
      const v = f32x4.sub(f32x4.mul(some(at(g, j), rest), some(at(k1, j), rest)), f32x4.mul(some(at(x, j), rest), some(at(k2, j), rest)));
      put(at(g, j), f32x4.add(v, some(at(k3, j), rest)), rest);
    }
    g = at(g, c);
    x = at(x, c);
  }
}
