import type { TensorData } from '../../../../core/index.js';
import { fromFloat16 } from '../float16.js';

/** The number types of safetensors files that are read, and the bytes that a number takes. */
export const BYTES: Readonly<Record<string, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
};

/** float8 e4m3fn (Micikevicius et al. 2022): exponents biased by 7, no infinities, 0x7f and 0xff are NaN. */
const E4M3 = Float32Array.from({ length: 256 }, (_, x) => {
  const [sign, exponent, fraction] = [x & 0x80 ? -1 : 1, (x >> 3) & 15, x & 7];
  if (exponent === 15 && fraction === 7) return Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7));
});
/** float8 e5m2 is the upper byte of a float16. */
const E5M2 = fromFloat16(Uint16Array.from({ length: 256 }, (_, x) => x << 8));

/** Numbers of one byte by a table. */
function looked(table: Float32Array, codes: Uint8Array): Float32Array {
  const out = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]];
  return out;
}

/** bfloat16 is the upper half of a float32. */
function fromBfloat16(halves: Uint16Array): Float32Array {
  const out = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) out[i] = halves[i] << 16;
  return new Float32Array(out.buffer);
}

/** The numbers of `raw`, which is kept where it can be. Floats of 8, 16 and 64 bits come out as float32; U8 stays; integers come out as int32. */
export function decode(dtype: string, raw: ArrayBuffer): Pick<TensorData, 'dtype' | 'data'> {
  switch (dtype) {
    case 'F32':
      return { dtype: 'float32', data: new Float32Array(raw) };
    case 'F16':
      return { dtype: 'float32', data: fromFloat16(new Uint16Array(raw)) };
    case 'BF16':
      return { dtype: 'float32', data: fromBfloat16(new Uint16Array(raw)) };
    case 'F8_E5M2':
      return { dtype: 'float32', data: looked(E5M2, new Uint8Array(raw)) };
    case 'F8_E4M3':
      return { dtype: 'float32', data: looked(E4M3, new Uint8Array(raw)) };
    case 'F64':
      return { dtype: 'float32', data: Float32Array.from(new Float64Array(raw)) };
    case 'I64':
      return { dtype: 'int32', data: Int32Array.from(new BigInt64Array(raw), Number) };
    case 'I32':
      return { dtype: 'int32', data: new Int32Array(raw) };
    case 'I16':
      return { dtype: 'int32', data: Int32Array.from(new Int16Array(raw)) };
    case 'I8':
      return { dtype: 'int32', data: Int32Array.from(new Int8Array(raw)) };
    default:
      return { dtype: 'uint8', data: new Uint8Array(raw) };
  }
}
