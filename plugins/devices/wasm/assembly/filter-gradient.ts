// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

import { at, multiplyAdd, put, some } from './memory';

/**
 * dw [kh, kw, ci, co] of a convolution of x [n, ih, iw, ci], from dy [n, oh, ow, co]: of all places of the filter and four channels of x each, those
 * from .. to. Four by eight sums stay in registers.
 */
export function filterGradient(
  x: usize, dy: usize, dw: usize, n: i32, ih: i32, iw: i32, ci: i32, oh: i32, ow: i32, co: i32,
  kh: i32, kw: i32, sh: i32, sw: i32, top: i32, left: i32, from: i32, to: i32,
): void {
  const fours = (ci + 3) >> 2;
  for (let block = from; block < to; block++) {
      const tap = block / fours;
      const ky = tap / kw, kx = tap - ky * kw;
      const begin = (block - tap * fours) << 2;
      // Output columns whose pixel under this tap lies inside the image.
      let first = 0, last = ow;
      while (first < ow && first * sw - left + kx < 0) first++;
      while (last > first && (last - 1) * sw - left + kx >= iw) last--;
      for (let c = begin; c < min(ci, begin + 4); ) {
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
                  s00 = multiplyAdd(x0, d0, s00); s01 = multiplyAdd(x0, d1, s01);
                  s10 = multiplyAdd(x1, d0, s10); s11 = multiplyAdd(x1, d1, s11);
                  s20 = multiplyAdd(x2, d0, s20); s21 = multiplyAdd(x2, d1, s21);
                  s30 = multiplyAdd(x3, d0, s30); s31 = multiplyAdd(x3, d1, s31);
                } else {
                  const d0 = some(dp, rest);
                  s00 = multiplyAdd(v128.load32_splat(xp), d0, s00);
                  if (four) {
                    s10 = multiplyAdd(v128.load32_splat(xp, 4), d0, s10);
                    s20 = multiplyAdd(v128.load32_splat(xp, 8), d0, s20);
                    s30 = multiplyAdd(v128.load32_splat(xp, 12), d0, s30);
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
