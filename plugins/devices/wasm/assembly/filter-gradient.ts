// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

import { at, put, some } from './memory';

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
