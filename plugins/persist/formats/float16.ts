/** IEEE 754 half precision, both ways; to half rounds to the nearest, ties to even. */
const scratch = new Float32Array(1);
const bits = new Uint32Array(scratch.buffer);

export function toFloat16(values: ArrayLike<number>): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    scratch[0] = values[i];
    const x = bits[0];
    const sign = (x >>> 16) & 0x8000;
    const exponent = (x >>> 23) & 0xff;
    const fraction = x & 0x7fffff;
    if (exponent === 0xff) out[i] = sign | 0x7c00 | (fraction ? 0x200 : 0);
    else if (exponent > 142) out[i] = sign | 0x7c00;
    else if (exponent < 102) out[i] = sign;
    else {
      // A subnormal half keeps fewer bits of the fraction, whose leading one is then written out.
      const normal = exponent >= 113;
      const shift = normal ? 13 : 126 - exponent;
      const whole = normal ? ((exponent - 112) << 23) | fraction : fraction | 0x800000;
      const kept = Math.floor(whole / 2 ** shift);
      const rest = whole - kept * 2 ** shift;
      const half = 2 ** (shift - 1);
      out[i] = sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
    }
  }
  return out;
}

/** The float32 of each of the 65,536 halves, made when it is first needed: a model has billions of them. */
let table: Float32Array | undefined;

function halfValue(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >>> 10) & 0x1f;
  const fraction = h & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

export function fromFloat16(halves: Uint16Array): Float32Array {
  table ??= Float32Array.from({ length: 1 << 16 }, (_, h) => halfValue(h));
  const out = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) out[i] = table[halves[i]];
  return out;
}
