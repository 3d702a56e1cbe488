// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

import { sigmoid4, siluSlope4 } from './functions';
import { at, multiplyAdd, put, some } from './memory';

/** sums [c] of what there is of x [pixels, c], sixteen columns at a time. */
function columnSums(x: usize, pixels: i32, c: i32, sums: usize): void {
  let j = 0;
  for (; j + 16 <= c; j += 16) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    let p = at(x, j);
    for (let i = 0; i < pixels; i++, p = at(p, c)) {
      s0 = f32x4.add(s0, v128.load(p)); s1 = f32x4.add(s1, v128.load(p, 16));
      s2 = f32x4.add(s2, v128.load(p, 32)); s3 = f32x4.add(s3, v128.load(p, 48));
    }
    const o = at(sums, j);
    v128.store(o, s0); v128.store(o, s1, 16); v128.store(o, s2, 32); v128.store(o, s3, 48);
  }
  for (; j < c; j += 4) {
    let s = f32x4.splat(0);
    let p = at(x, j);
    for (let i = 0; i < pixels; i++, p = at(p, c)) s = f32x4.add(s, some(p, c - j));
    put(at(sums, j), s, c - j);
  }
}

/** sums [c] of (x - mean)^2, mean [c]. */
function columnSquares(x: usize, mean: usize, pixels: i32, c: i32, sums: usize): void {
  let j = 0;
  for (; j + 16 <= c; j += 16) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    const m = at(mean, j);
    const m0 = v128.load(m), m1 = v128.load(m, 16), m2 = v128.load(m, 32), m3 = v128.load(m, 48);
    let p = at(x, j);
    for (let i = 0; i < pixels; i++, p = at(p, c)) {
      const z0 = f32x4.sub(v128.load(p), m0), z1 = f32x4.sub(v128.load(p, 16), m1);
      const z2 = f32x4.sub(v128.load(p, 32), m2), z3 = f32x4.sub(v128.load(p, 48), m3);
      s0 = multiplyAdd(z0, z0, s0); s1 = multiplyAdd(z1, z1, s1); s2 = multiplyAdd(z2, z2, s2); s3 = multiplyAdd(z3, z3, s3);
    }
    const o = at(sums, j);
    v128.store(o, s0); v128.store(o, s1, 16); v128.store(o, s2, 32); v128.store(o, s3, 48);
  }
  for (; j < c; j += 4) {
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

/** The sum of d numbers. */
@inline
function summed(x: usize, d: i32): f64 {
  let sum: f64 = 0;
  for (let j = 0; j < d; j++) sum += <f64>load<f32>(at(x, j));
  return sum;
}

@inline
function fill(x: usize, d: i32, value: f32): void {
  for (let j = 0; j < d; j++) store<f32>(at(x, j), value);
}

/**
 * Group normalization of examples from .. to of x [n, pixels, c], silu behind it where `activate` is 1. stats [n, 2, c] are told mean and 1 / standard
 * deviation of each channel's group. `room` has 3 c numbers.
 */
export function groupNorm(
  x: usize, gamma: usize, beta: usize, out: usize, stats: usize, pixels: i32, c: i32, groups: i32, epsilon: f64, activate: i32, from: i32, to: i32, room: usize,
): void {
  const d = c / groups;
  const count = <f64>pixels * <f64>d;
  const factor = at(room, c), addend = at(room, 2 * c);
  for (let n = from; n < to; n++) {
    const xn = at(x, n * pixels * c), on = at(out, n * pixels * c);
    const mean = at(stats, 2 * n * c), rstd = at(mean, c);
    columnSums(xn, pixels, c, room);
    for (let j = 0; j < c; j += d) fill(at(mean, j), d, <f32>(summed(at(room, j), d) / count));
    columnSquares(xn, mean, pixels, c, room);
    for (let j = 0; j < c; j += d) fill(at(rstd, j), d, <f32>(1 / Math.sqrt(summed(at(room, j), d) / count + epsilon)));
    factors(mean, rstd, gamma, beta, factor, addend, c);
    if (activate) for (let i = 0; i < pixels; i++) {
      const p = at(xn, i * c), o = at(on, i * c);
      for (let j = 0; j < c; j += 4) {
        const z = multiplyAdd(some(at(p, j), c - j), some(at(factor, j), c - j), some(at(addend, j), c - j));
        put(at(o, j), f32x4.mul(z, sigmoid4(z)), c - j);
      }
    }
    else for (let i = 0; i < pixels; i++) {
      const p = at(xn, i * c), o = at(on, i * c);
      for (let j = 0; j < c; j += 4)
        put(at(o, j), multiplyAdd(some(at(p, j), c - j), some(at(factor, j), c - j), some(at(addend, j), c - j)), c - j);
    }
  }
}

/** The norm as one factor and one addend a channel. */
@inline
function factors(mean: usize, rstd: usize, gamma: usize, beta: usize, factor: usize, addend: usize, c: i32): void {
  for (let j = 0; j < c; j++) {
    const k = load<f32>(at(rstd, j)) * load<f32>(at(gamma, j));
    store<f32>(at(factor, j), k);
    store<f32>(at(addend, j), load<f32>(at(beta, j)) - load<f32>(at(mean, j)) * k);
  }
}

/** Its gradients: dx, and dgamma and dbeta of each example [n, c]. `room` has 7 c numbers. */
export function groupNormGrad(
  x: usize, dy: usize, gamma: usize, beta: usize, stats: usize, dx: usize, dgamma: usize, dbeta: usize, pixels: i32, c: i32, groups: i32, activate: i32,
  from: i32, to: i32, room: usize,
): void {
  const d = c / groups;
  const count = <f64>pixels * <f64>d;
  const factor = room, addend = at(room, c), k1 = at(room, 2 * c), k2 = at(room, 3 * c), k3 = at(room, 4 * c);
  for (let n = from; n < to; n++) {
    const start = n * pixels * c;
    const xn = at(x, start), yn = at(dy, start), gn = at(dx, start);
    const mean = at(stats, 2 * n * c), rstd = at(mean, c);
    const along = at(dgamma, n * c), sums = at(dbeta, n * c);
    factors(mean, rstd, gamma, beta, factor, addend, c);
    for (let j = 0; j < c; j += 4) {
      const rest = c - j;
      let s = f32x4.splat(0), t = s;
      const m = some(at(mean, j), rest), r = some(at(rstd, j), rest), f = some(at(factor, j), rest), a = some(at(addend, j), rest);
      let p = at(xn, j), q = at(yn, j), o = at(gn, j);
      for (let i = 0; i < pixels; i++, p = at(p, c), q = at(q, c), o = at(o, c)) {
        const v = some(p, rest);
        let g = some(q, rest);
        if (activate) g = f32x4.mul(g, siluSlope4(multiplyAdd(v, f, a)));
        put(o, g, rest);
        s = f32x4.add(s, g);
        t = multiplyAdd(g, f32x4.sub(v, m), t);
      }
      put(at(sums, j), s, rest);
      put(at(along, j), f32x4.mul(t, r), rest);
    }
    // dx = (g gamma - a - normal b) / deviation, with what is constant for a channel taken out of the loop.
    for (let j = 0; j < c; j += d) {
      let a: f64 = 0, b: f64 = 0;
      for (let l = j; l < j + d; l++) {
        const weight = <f64>load<f32>(at(gamma, l));
        a += <f64>load<f32>(at(sums, l)) * weight;
        b += <f64>load<f32>(at(along, l)) * weight;
      }
      a /= count;
      b /= count;
      for (let l = j; l < j + d; l++) {
        const r = <f64>load<f32>(at(rstd, l));
        store<f32>(at(k1, l), <f32>(<f64>load<f32>(at(gamma, l)) * r));
        store<f32>(at(k2, l), <f32>(b * r * r));
        store<f32>(at(k3, l), <f32>(<f64>load<f32>(at(mean, l)) * b * r * r - a * r));
      }
    }
    for (let i = 0; i < pixels; i++) {
      const p = at(xn, i * c), o = at(gn, i * c);
      for (let j = 0; j < c; j += 4) {
        const rest = c - j;
        const v = f32x4.sub(f32x4.mul(some(at(o, j), rest), some(at(k1, j), rest)), f32x4.mul(some(at(p, j), rest), some(at(k2, j), rest)));
        put(at(o, j), f32x4.add(v, some(at(k3, j), rest)), rest);
      }
    }
  }
}

@inline
function lanes(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/** v, with lanes from `count` on 0. */
@inline
function first(v: v128, count: i32): v128 {
  return count >= 4 ? v : v128.and(v, i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(count)));
}

/** Layer normalization of the rows from .. to of x [rows, c]; stats [rows, 2] are told mean and 1 / standard deviation. */
export function layerNorm(x: usize, gamma: usize, beta: usize, out: usize, stats: usize, c: i32, epsilon: f64, from: i32, to: i32): void {
  for (let row = from; row < to; row++) {
    const p = at(x, row * c), o = at(out, row * c);
    let s = f32x4.splat(0);
    for (let j = 0; j < c; j += 4) s = f32x4.add(s, some(at(p, j), c - j));
    const mean = lanes(s) / <f32>c;
    const m = f32x4.splat(mean);
    s = f32x4.splat(0);
    for (let j = 0; j < c; j += 4) {
      const z = first(f32x4.sub(some(at(p, j), c - j), m), c - j);
      s = multiplyAdd(z, z, s);
    }
    const rstd = <f32>(1 / Math.sqrt(<f64>lanes(s) / <f64>c + epsilon));
    const r = f32x4.splat(rstd);
    for (let j = 0; j < c; j += 4) {
      const normal = f32x4.mul(f32x4.sub(some(at(p, j), c - j), m), r);
      put(at(o, j), multiplyAdd(normal, some(at(gamma, j), c - j), some(at(beta, j), c - j)), c - j);
    }
    store<f32>(at(stats, 2 * row), mean);
    store<f32>(at(stats, 2 * row + 1), rstd);
  }
}

/** Its gradient to x. */
export function layerNormGrad(x: usize, dy: usize, gamma: usize, stats: usize, dx: usize, c: i32, from: i32, to: i32): void {
  for (let row = from; row < to; row++) {
    const p = at(x, row * c), q = at(dy, row * c), o = at(dx, row * c);
    const m = v128.load32_splat(at(stats, 2 * row)), r = v128.load32_splat(at(stats, 2 * row + 1));
    let a = f32x4.splat(0), b = a;
    for (let j = 0; j < c; j += 4) {
      // 0 beyond the row, where `some` reads zeros of dy.
      const g = f32x4.mul(some(at(q, j), c - j), some(at(gamma, j), c - j));
      a = f32x4.add(a, g);
      b = multiplyAdd(g, f32x4.mul(f32x4.sub(some(at(p, j), c - j), m), r), b);
    }
    const mean = f32x4.splat(lanes(a) / <f32>c), along = f32x4.splat(lanes(b) / <f32>c);
    for (let j = 0; j < c; j += 4) {
      const normal = f32x4.mul(f32x4.sub(some(at(p, j), c - j), m), r);
      const g = f32x4.mul(some(at(q, j), c - j), some(at(gamma, j), c - j));
      put(at(o, j), f32x4.mul(f32x4.sub(f32x4.sub(g, mean), f32x4.mul(normal, along)), r), c - j);
    }
  }
}

/** Its gradient to gamma [c], of all rows. */
export function layerNormGammaGrad(x: usize, dy: usize, stats: usize, dgamma: usize, rows: i32, c: i32): void {
  for (let j = 0; j < c; j += 4) {
    let s = f32x4.splat(0);
    let p = at(x, j), q = at(dy, j), st = stats;
    for (let i = 0; i < rows; i++, p = at(p, c), q = at(q, c), st = at(st, 2))
      s = multiplyAdd(some(q, c - j), f32x4.mul(f32x4.sub(some(p, c - j), v128.load32_splat(st)), v128.load32_splat(st, 4)), s);
    put(at(dgamma, j), s, c - j);
  }
}
