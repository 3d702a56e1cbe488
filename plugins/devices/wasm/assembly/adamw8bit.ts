// @ts-nocheck: these are AssemblyScript's types, not TypeScript's.

import { at } from './memory';

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
 * that only this call uses. correction1 = 1 / (1 - beta1^t), correction2 the same of beta2; k1 = 1 - beta1, k2 = 1 - beta2. Blocks
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
