// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

import { at } from './memory';

/** c [batch, m, n] = a times b [batch, k, n]. a's element (i, p) is at i aRow + p aColumn, so that it may be transposed. */
export function multiply(a: usize, b: usize, c: usize, batch: i32, m: i32, k: i32, n: i32, aRow: i32, aColumn: i32, aBatch: i32, bBatch: i32): void {
  for (let t = 0; t < batch; t++) {
    for (let i = 0; i < m; i += 4) {
      if (i + 4 <= m) rows4(at(a, i * aRow), b, at(c, i * n), k, n, aRow, aColumn);
      else for (let r = i; r < m; r++) row1(at(a, r * aRow), b, at(c, r * n), k, n, aColumn);
    }
    a = at(a, aBatch);
    b = at(b, bBatch);
    c = at(c, m * n);
  }
}

/** Four rows of c, eight columns at a time: eight sums in registers. */
@inline
function rows4(a: usize, b: usize, c: usize, k: i32, n: i32, aRow: i32, aColumn: i32): void {
  let j = 0;
  const a1 = at(a, aRow), a2 = at(a1, aRow), a3 = at(a2, aRow);
  for (; j + 8 <= n; j += 8) {
    let s00 = f32x4.splat(0), s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00, s31 = s00;
    let bp = at(b, j);
    let o: usize = 0;
    for (let p = 0; p < k; p++) {
      const b0 = v128.load(bp), b1 = v128.load(bp, 16);
      const x0 = v128.load32_splat(a + o), x1 = v128.load32_splat(a1 + o), x2 = v128.load32_splat(a2 + o), x3 = v128.load32_splat(a3 + o);
      s00 = f32x4.add(s00, f32x4.mul(x0, b0)); s01 = f32x4.add(s01, f32x4.mul(x0, b1));
      s10 = f32x4.add(s10, f32x4.mul(x1, b0)); s11 = f32x4.add(s11, f32x4.mul(x1, b1));
      s20 = f32x4.add(s20, f32x4.mul(x2, b0)); s21 = f32x4.add(s21, f32x4.mul(x2, b1));
      s30 = f32x4.add(s30, f32x4.mul(x3, b0)); s31 = f32x4.add(s31, f32x4.mul(x3, b1));
      bp = at(bp, n);
      o += <usize>aColumn << 2;
    }
    let cp = at(c, j);
    v128.store(cp, s00); v128.store(cp, s01, 16); cp = at(cp, n);
    v128.store(cp, s10); v128.store(cp, s11, 16); cp = at(cp, n);
    v128.store(cp, s20); v128.store(cp, s21, 16); cp = at(cp, n);
    v128.store(cp, s30); v128.store(cp, s31, 16);
  }
  for (; j + 4 <= n; j += 4) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    let bp = at(b, j);
    let o: usize = 0;
    for (let p = 0; p < k; p++) {
      const b0 = v128.load(bp);
      s0 = f32x4.add(s0, f32x4.mul(v128.load32_splat(a + o), b0));
      s1 = f32x4.add(s1, f32x4.mul(v128.load32_splat(a1 + o), b0));
      s2 = f32x4.add(s2, f32x4.mul(v128.load32_splat(a2 + o), b0));
      s3 = f32x4.add(s3, f32x4.mul(v128.load32_splat(a3 + o), b0));
      bp = at(bp, n);
      o += <usize>aColumn << 2;
    }
    let cp = at(c, j);
    v128.store(cp, s0); cp = at(cp, n);
    v128.store(cp, s1); cp = at(cp, n);
    v128.store(cp, s2); cp = at(cp, n);
    v128.store(cp, s3);
  }
  if (j < n) for (let r = 0; r < 4; r++) tail(at(a, r * aRow), b, at(c, r * n), j, k, n, aColumn);
}

function row1(a: usize, b: usize, c: usize, k: i32, n: i32, aColumn: i32): void {
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    let s = f32x4.splat(0);
    let bp = at(b, j);
    let ap = a;
    for (let p = 0; p < k; p++) {
      s = f32x4.add(s, f32x4.mul(v128.load32_splat(ap), v128.load(bp)));
      bp = at(bp, n);
      ap = at(ap, aColumn);
    }
    v128.store(at(c, j), s);
  }
  tail(a, b, c, j, k, n, aColumn);
}

function tail(a: usize, b: usize, c: usize, from: i32, k: i32, n: i32, aColumn: i32): void {
  for (let j = from; j < n; j++) {
    let s: f32 = 0;
    for (let p = 0; p < k; p++) s += load<f32>(at(a, p * aColumn)) * load<f32>(at(b, p * n + j));
    store<f32>(at(c, j), s);
  }
}
