// AssemblyScript, compiled to WebAssembly with SIMD by scripts of package.json. It works in the wasm backend's own memory:
// every argument named as an array is the address of float32 numbers there. Nothing is allocated and nothing kept.

// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

@inline
function at(array: usize, i: usize): usize {
  return array + (i << 2);
}

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

/** dw [kh, kw, ci, co] of a convolution of x [n, ih, iw, ci], from dy [n, oh, ow, co]. Four by eight sums stay in registers. */
export function filterGradient(
  x: usize, dy: usize, dw: usize, n: i32, ih: i32, iw: i32, ci: i32, oh: i32, ow: i32, co: i32,
  kh: i32, kw: i32, sh: i32, sw: i32, top: i32, left: i32,
): void {
  for (let ky = 0; ky < kh; ky++)
    for (let kx = 0; kx < kw; kx++) {
      // Output columns whose pixel under this tap lies inside the image.
      let first = 0, last = ow;
      while (first < ow && first * sw - left + kx < 0) first++;
      while (last > first && (last - 1) * sw - left + kx >= iw) last--;
      for (let c = 0; c < ci; ) {
        const four = c + 4 <= ci;
        for (let o = 0; o < co; ) {
          const eight = four && o + 8 <= co;
          const rest = co - o;
          let s00 = f32x4.splat(0), s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00, s30 = s00, s31 = s00;
          for (let b = 0; b < n; b++)
            for (let oy = 0; oy < oh; oy++) {
              const y = oy * sh - top + ky;
              if (y < 0 || y >= ih) continue;
              let xp = at(x, ((b * ih + y) * iw + first * sw - left + kx) * ci + c);
              let dp = at(dy, ((b * oh + oy) * ow + first) * co + o);
              for (let ox = first; ox < last; ox++, xp = at(xp, sw * ci), dp = at(dp, co)) {
                if (eight) {
                  const d0 = v128.load(dp), d1 = v128.load(dp, 16);
                  const x0 = v128.load32_splat(xp), x1 = v128.load32_splat(xp, 4), x2 = v128.load32_splat(xp, 8), x3 = v128.load32_splat(xp, 12);
                  s00 = f32x4.add(s00, f32x4.mul(x0, d0)); s01 = f32x4.add(s01, f32x4.mul(x0, d1));
                  s10 = f32x4.add(s10, f32x4.mul(x1, d0)); s11 = f32x4.add(s11, f32x4.mul(x1, d1));
                  s20 = f32x4.add(s20, f32x4.mul(x2, d0)); s21 = f32x4.add(s21, f32x4.mul(x2, d1));
                  s30 = f32x4.add(s30, f32x4.mul(x3, d0)); s31 = f32x4.add(s31, f32x4.mul(x3, d1));
                } else {
                  const d0 = some(dp, rest);
                  s00 = f32x4.add(s00, f32x4.mul(v128.load32_splat(xp), d0));
                  if (four) {
                    s10 = f32x4.add(s10, f32x4.mul(v128.load32_splat(xp, 4), d0));
                    s20 = f32x4.add(s20, f32x4.mul(v128.load32_splat(xp, 8), d0));
                    s30 = f32x4.add(s30, f32x4.mul(v128.load32_splat(xp, 12), d0));
                  }
                }
              }
            }
          let out = at(dw, ((ky * kw + kx) * ci + c) * co + o);
          put(out, s00, rest);
          if (eight) v128.store(out, s01, 16);
          if (four) {
            out = at(out, co);
            put(out, s10, rest);
            if (eight) v128.store(out, s11, 16);
            out = at(out, co);
            put(out, s20, rest);
            if (eight) v128.store(out, s21, 16);
            out = at(out, co);
            put(out, s30, rest);
            if (eight) v128.store(out, s31, 16);
          }
          o += eight ? 8 : 4;
        }
        c += four ? 4 : 1;
      }
    }
}

// ------------------------------------------------------------------ over [pixels, c]

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

// ------------------------------------------------------------------ element-wise, any count

/** exp(x), Cephes' expf: relative error under 2e-7; flushes to 0 below -87. */
@inline
function exp4(x: v128): v128 {
  x = f32x4.max(f32x4.min(x, f32x4.splat(88.02)), f32x4.splat(-87.3));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504088896341)));
  x = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  x = f32x4.sub(x, f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let y = f32x4.splat(1.9875691500e-4);
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(1.3981999507e-3));
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(8.3334519073e-3));
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(4.1665795894e-2));
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(1.6666665459e-1));
  y = f32x4.add(f32x4.mul(y, x), f32x4.splat(5.0000001201e-1));
  y = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(y, x), x), x), f32x4.splat(1));
  return f32x4.mul(y, i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23));
}

@inline
function sigmoid4(x: v128): v128 {
  return f32x4.div(f32x4.splat(1), f32x4.add(f32x4.splat(1), exp4(f32x4.neg(x))));
}

/** erf(x) by Abramowitz and Stegun 7.1.26, off by at most 1.5e-7; e is exp(-x x). */
@inline
function erf4(x: v128, e: v128): v128 {
  const one = f32x4.splat(1);
  const t = f32x4.div(one, f32x4.add(one, f32x4.mul(f32x4.splat(0.3275911), f32x4.abs(x))));
  let y = f32x4.add(f32x4.mul(f32x4.splat(1.061405429), t), f32x4.splat(-1.453152027));
  y = f32x4.add(f32x4.mul(y, t), f32x4.splat(1.421413741));
  y = f32x4.add(f32x4.mul(y, t), f32x4.splat(-0.284496736));
  y = f32x4.add(f32x4.mul(y, t), f32x4.splat(0.254829592));
  y = f32x4.sub(one, f32x4.mul(f32x4.mul(y, t), e));
  return v128.bitselect(y, f32x4.neg(y), f32x4.ge(x, f32x4.splat(0)));
}

@inline
function siluSlope4(z: v128): v128 {
  const s = sigmoid4(z);
  return f32x4.mul(s, f32x4.add(f32x4.splat(1), f32x4.mul(z, f32x4.sub(f32x4.splat(1), s))));
}

/** Loads up to four numbers; the rest are 0. */
@inline
function some(p: usize, count: i32): v128 {
  if (count >= 4) return v128.load(p);
  let v = f32x4.replace_lane(f32x4.splat(0), 0, load<f32>(p));
  if (count > 1) v = f32x4.replace_lane(v, 1, load<f32>(p, 4));
  if (count > 2) v = f32x4.replace_lane(v, 2, load<f32>(p, 8));
  return v;
}

@inline
function put(p: usize, v: v128, count: i32): void {
  if (count >= 4) {
    v128.store(p, v);
    return;
  }
  store<f32>(p, f32x4.extract_lane(v, 0));
  if (count > 1) store<f32>(p, f32x4.extract_lane(v, 1), 4);
  if (count > 2) store<f32>(p, f32x4.extract_lane(v, 2), 8);
}

/** out = x sigmoid(x). */
export function silu(x: usize, out: usize, count: i32): void {
  for (let i = 0; i < count; i += 4) {
    const v = some(at(x, i), count - i);
    put(at(out, i), f32x4.mul(v, sigmoid4(v)), count - i);
  }
}

/** out = dy times the slope of z sigmoid(z). out may be dy or z. */
export function siluGrad(z: usize, dy: usize, out: usize, count: i32): void {
  for (let i = 0; i < count; i += 4) put(at(out, i), f32x4.mul(some(at(dy, i), count - i), siluSlope4(some(at(z, i), count - i))), count - i);
}

/** out [rows, c] = value times gelu(gate), x [rows, 2 c] holding values, then gates. */
export function geglu(x: usize, out: usize, rows: i32, c: i32): void {
  for (let r = 0; r < rows; r++) {
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

export function gegluGrad(x: usize, dy: usize, dx: usize, rows: i32, c: i32): void {
  for (let r = 0; r < rows; r++) {
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

// ------------------------------------------------------------------ 8-bit AdamW

@inline
function decoded(codes: usize, map: usize): v128 {
  let x = v128.load32_zero(map + (<usize>load<u8>(codes) << 2));
  x = v128.load_lane<f32>(map + (<usize>load<u8>(codes, 1) << 2), x, 1);
  x = v128.load_lane<f32>(map + (<usize>load<u8>(codes, 2) << 2), x, 2);
  return v128.load_lane<f32>(map + (<usize>load<u8>(codes, 3) << 2), x, 3);
}

/**
 * The codes of four numbers, given as bits that rise with them. The table's entry for the upper half of the bits is (code << 16) +
 * 65536 - the lower half where the next code begins. room: 16 bytes for the entries' addresses.
 */
@inline
function fourCodes(bits: v128, table: usize, room: usize): v128 {
  v128.store(room, i32x4.add(v128.and(i32x4.shr_u(bits, 14), i32x4.splat(~3)), i32x4.splat(<i32>table)));
  let entries = v128.load32_zero(<usize>load<u32>(room));
  entries = v128.load_lane<u32>(<usize>load<u32>(room, 4), entries, 1);
  entries = v128.load_lane<u32>(<usize>load<u32>(room, 8), entries, 2);
  entries = v128.load_lane<u32>(<usize>load<u32>(room, 12), entries, 3);
  return i32x4.shr_u(i32x4.add(entries, v128.and(bits, i32x4.splat(0xffff))), 16);
}

/** Bits that rise with the numbers from -1 on: negative ones are turned round. Adding 0 turns -0 into 0. */
@inline
function signedBits(mean: v128, share: v128): v128 {
  const x = f32x4.add(f32x4.mul(mean, share), f32x4.splat(0));
  return i32x4.add(v128.xor(x, v128.and(i32x4.shr_s(x, 31), i32x4.splat(0x7fffffff))), i32x4.splat(0x3f810000));
}

@inline
function packed(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_u(a, b), i16x8.narrow_i32x4_u(c, d));
}

@inline
function largest(x: v128): f32 {
  return max(max(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)), max(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)));
}

/**
 * One step of 8-bit AdamW. m and v hold a code a byte, absmax the largest |m| of each block of 256, then the largest v.
 * tables: the signed map and the unsigned one, 256 floats each; 33,026 entries for codes of m, 16,257 for those of v. room: 8 KiB
 * of the caller's own. correction1 = 1 / (1 - beta1^t), correction2 the same of beta2; k1 = 1 - beta1, k2 = 1 - beta2. Blocks
 * from..to - 1 are updated, so that several threads can share a tensor.
 */
export function adamw8bit(
  p: usize, g: usize, m: usize, v: usize, absmax: usize, size: i32, from: i32, to: i32, tables: usize, room: usize, rate: f32, decay: f32,
  scale: f32, correction1: f32, correction2: f32, beta1: f32, k1: f32, beta2: f32, k2: f32, epsilon: f32, bound: f32,
): void {
  const blocks = (size + 255) >> 8;
  const tableM = tables + 2048, tableV = tableM + 4 * 33026;
  const means = room, squares = room + 1024, addresses = room + 2048;
  const padP = room + 2304, padG = padP + 1024, padM = padG + 1024, padV = padM + 256;
  const correct = f32x4.splat(correction2), small = f32x4.splat(epsilon), kept = f32x4.splat(1 - rate * decay);
  const speed = f32x4.splat(rate * correction1), most = f32x4.splat(rate * bound), least = f32x4.splat(-rate * bound);
  const moveM = f32x4.splat(scale * k1), moveV = f32x4.splat(scale * scale * k2);
  for (let block = from; block < to; block++) {
    const first: usize = <usize>block << 8;
    const count = min(256, size - (block << 8));
    let pAt = p + (first << 2), gAt = g + (first << 2), mAt = m + first, vAt = v + first;
    // A last block that is not full is worked on in a copy filled up with zeros.
    if (count < 256) {
      for (let i = 0; i < 256; i++) {
        const inside = i < count;
        store<f32>(at(padP, i), inside ? load<f32>(at(pAt, i)) : 0);
        store<f32>(at(padG, i), inside ? load<f32>(at(gAt, i)) : 0);
        store<u8>(padM + i, inside ? load<u8>(mAt + i) : 127);
        store<u8>(padV + i, inside ? load<u8>(vAt + i) : 0);
      }
      pAt = padP;
      gAt = padG;
      mAt = padM;
      vAt = padV;
    }
    const topM = at(absmax, block), topV = at(absmax, blocks + block);
    const stayM = f32x4.splat(load<f32>(topM) * beta1), stayV = f32x4.splat(load<f32>(topV) * beta2);
    let newM = f32x4.splat(0), newV = newM;
    // Pointers that move, as addresses out of an index would cost as much as the arithmetic; and no more constants than registers.
    for (let pp = pAt, gp = gAt, mp = mAt, vp = vAt, to = means; to < squares; pp += 16, gp += 16, mp += 4, vp += 4, to += 16) {
      const gradient = v128.load(gp);
      const mean = f32x4.add(f32x4.mul(decoded(mp, tables), stayM), f32x4.mul(gradient, moveM));
      const square = f32x4.add(f32x4.mul(decoded(vp, tables + 1024), stayV), f32x4.mul(f32x4.mul(gradient, gradient), moveV));
      v128.store(to, mean);
      v128.store(to, square, 1024);
      newM = f32x4.pmax(newM, f32x4.abs(mean));
      newV = f32x4.pmax(newV, square);
      const below = f32x4.add(f32x4.sqrt(f32x4.mul(square, correct)), small);
      const step = f32x4.pmax(f32x4.pmin(f32x4.div(f32x4.mul(mean, speed), below), most), least);
      v128.store(pp, f32x4.sub(f32x4.mul(v128.load(pp), kept), step));
    }
    const largestM = largest(newM), largestV = largest(newV);
    const divideM: f32 = largestM == 0 ? 1 : largestM, divideV: f32 = largestV == 0 ? 1 : largestV;
    store<f32>(topM, divideM);
    store<f32>(topV, divideV);
    const shareM = f32x4.splat(1 / divideM), shareV = f32x4.splat(1 / divideV);
    for (let from = means, mp = mAt, vp = vAt; from < squares; from += 64, mp += 16, vp += 16) {
      v128.store(
        mp,
        packed(
          fourCodes(signedBits(v128.load(from), shareM), tableM, addresses),
          fourCodes(signedBits(v128.load(from, 16), shareM), tableM, addresses + 16),
          fourCodes(signedBits(v128.load(from, 32), shareM), tableM, addresses + 32),
          fourCodes(signedBits(v128.load(from, 48), shareM), tableM, addresses + 48),
        ),
      );
      v128.store(
        vp,
        packed(
          fourCodes(f32x4.mul(v128.load(from, 1024), shareV), tableV, addresses + 64),
          fourCodes(f32x4.mul(v128.load(from, 1040), shareV), tableV, addresses + 80),
          fourCodes(f32x4.mul(v128.load(from, 1056), shareV), tableV, addresses + 96),
          fourCodes(f32x4.mul(v128.load(from, 1072), shareV), tableV, addresses + 112),
        ),
      );
    }
    if (count < 256)
      for (let i = 0; i < count; i++) {
        store<f32>(at(p, (block << 8) + i), load<f32>(at(padP, i)));
        store<u8>(m + first + i, load<u8>(padM + i));
        store<u8>(v + first + i, load<u8>(padV + i));
      }
  }
}
