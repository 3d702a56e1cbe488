import { firstWhere } from './first-where.js';

/**
 * The code maps of dynamic 8-bit quantization (Dettmers et al. 2022, 8-bit Optimizers via Block-wise Quantization):
 * seven decades from 1e-7 up to 1, the i-th divided into 2^i (signed) or 2^(i+1) (unsigned) equal cells whose middles are the
 * values, both signs where signed, and 0 and 1. 256 values, rising.
 */
function dynamicMap(signed: boolean): Float32Array {
  const f = Math.fround;
  const values = [0, 1];
  for (let i = 0; i < 7; i++) {
    const cells = 2 ** (signed ? i : i + 1);
    // Rounded to float32 where PyTorch rounds, and counted from the nearer end: the values equal bitsandbytes' to the last bit.
    const step = f(f(1 - f(0.1)) / cells);
    const point = (j: number) => (j < (cells + 1) / 2 ? f(f(0.1) + step * j) : f(1 - step * (cells - j)));
    for (let j = 0; j < cells; j++) {
      const value = f(f(f(point(j) + point(j + 1)) / 2) * f(10 ** (i - 6)));
      values.push(value);
      if (signed) values.push(-value);
    }
  }
  return Float32Array.from(values).sort();
}

/** For the mean of gradients. */
export const SIGNED = dynamicMap(true);
/** For the mean of squared gradients. */
export const UNSIGNED = dynamicMap(false);

/** Elements that share an absmax. */
export const BLOCK_SIZE = 256;

/** Half-way between neighbours: what lies above is nearer to the upper one. */
export const middles = (map: Float32Array): Float64Array => Float64Array.from(map.subarray(1), (value, i) => (value + map[i]) / 2);

/** The code nearest to x: how many of the middles lie below it. */
export const nearestCode = (x: number, edges: Float64Array): number => firstWhere(0, edges.length, (i) => !(x > edges[i]));

/** The code of 0 in the signed map. */
export const SIGNED_ZERO = SIGNED.indexOf(0);

/**
 * Codes by the bits of a number in [-1, 1] (unsigned: [0, 1]), so that finding the nearest takes no search. One entry for each
 * upper half of the bits (negative ones turned round, so that bits rise with the numbers, from -1 on): no two codes begin
 * within one, so the entry says which code it begins with and at which lower half the next one does.
 */
export function codeTable(map: Float32Array): Uint32Array {
  const signed = map[0] < 0;
  const edges = middles(map);
  const first = signed ? -0x3f810000 : 0;
  const float = new DataView(new ArrayBuffer(4));
  const numberAt = (place: number): number => {
    const bits = place + first;
    float.setInt32(0, bits < 0 ? bits ^ 0x7fffffff : bits);
    return float.getFloat32(0);
  };
  const codeAt = (place: number): number => {
    const code = nearestCode(numberAt(place), edges);
    // A negative number never takes the code of 0.
    return signed && code === SIGNED_ZERO && place + first < 0 ? code - 1 : code;
  };
  const table = new Uint32Array(signed ? 33_026 : 16_257);
  for (let entry = 0; entry < table.length; entry++) {
    const [start, end] = [entry * 65536, entry * 65536 + 65535];
    const code = codeAt(start);
    const next = codeAt(end) === code ? end + 1 : firstWhere(start, end, (place) => codeAt(place) !== code);
    table[entry] = code * 65536 + 65536 - (next - start);
  }
  return table;
}
