import { fail, messageOf, type TensorData } from '../../../core/index.js';
import { fromFloat16, toFloat16 } from './float16.js';

/** The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes (huggingface/safetensors, README). */
export interface SafetensorsFile {
  readonly tensors: Map<string, TensorData>;
  readonly metadata: Readonly<Record<string, string>>;
}

const BYTES: Record<string, number> = {
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

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** Parses and checks the header. Any fault is an error that names the file. Returns the entries and where data begins. */
export function readHeader(
  bytes: Uint8Array,
  where: string,
): { entries: [string, Entry][]; metadata: Record<string, string>; start: number } {
  const bad = (what: string): never =>
    fail('BAD_SAFETENSORS', 'safetensors', `${where}: ${what}`, 'The file is broken or of another format: fetch it again.');
  if (bytes.byteLength < 8) bad(`${bytes.byteLength} bytes are too few`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  if (length > 100_000_000 || 8 + length > bytes.byteLength) bad(`its header claims ${length} bytes, the file has ${bytes.byteLength}`);
  let header: Record<string, unknown> = {};
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, 8 + length)));
  } catch (error) {
    bad(`its header is not JSON (${messageOf(error)})`);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) bad('its header is not an object');
  const { __metadata__: metadata = {}, ...rest } = header;
  const start = 8 + length;
  const end = bytes.byteLength - start;
  const entries = Object.entries(rest) as [string, Entry][];
  for (const [name, entry] of entries) {
    const natural = (x: unknown) => Number.isSafeInteger(x) && (x as number) >= 0;
    if (!(entry?.dtype in BYTES)) bad(`${name} has the data type ${JSON.stringify(entry?.dtype)}`);
    if (!Array.isArray(entry.shape) || !entry.shape.every(natural)) bad(`${name} has the shape ${JSON.stringify(entry.shape)}`);
    if (!Array.isArray(entry.data_offsets) || entry.data_offsets.length !== 2 || !entry.data_offsets.every(natural))
      bad(`${name} has the offsets ${JSON.stringify(entry.data_offsets)}`);
    const [from, to] = entry.data_offsets;
    const size = entry.shape.reduce((a, b) => a * b, BYTES[entry.dtype]);
    if (to > end || to - from !== size) bad(`${name} spans bytes ${from} to ${to} of ${end}, its shape asks for ${size}`);
  }
  let last = 0;
  for (const [name, entry] of [...entries].sort(
    (a, b) => a[1].data_offsets[0] - b[1].data_offsets[0] || a[1].data_offsets[1] - b[1].data_offsets[1],
  )) {
    if (entry.data_offsets[0] !== last)
      bad(`${name} begins at byte ${entry.data_offsets[0]}, expected ${last}: tensors overlap or leave a gap`);
    last = entry.data_offsets[1];
  }
  if (last !== end) bad(`${end - last} bytes belong to no tensor`);
  return { entries, metadata: metadata as Record<string, string>, start };
}

/** Reads a file's bytes. Floats of 8, 16 and 64 bits come out as float32; U8 stays; integers come out as int32. */
export function readSafetensors(bytes: Uint8Array, where = 'a safetensors file'): SafetensorsFile {
  const { entries, metadata, start } = readHeader(bytes, where);
  const tensors = new Map<string, TensorData>();
  for (const [name, { dtype, shape, data_offsets }] of entries) {
    // A copy, which is aligned; slice() of Node's Buffer would share its memory.
    const raw = new Uint8Array(bytes.subarray(start + data_offsets[0], start + data_offsets[1])).buffer;
    tensors.set(name, { shape, ...decode(dtype, raw) });
  }
  return { tensors, metadata };
}

/** float8 e4m3fn (Micikevicius et al. 2022): exponents biased by 7, no infinities, 0x7f and 0xff are NaN. */
const E4M3 = Float32Array.from({ length: 256 }, (_, x) => {
  const [sign, exponent, fraction] = [x & 0x80 ? -1 : 1, (x >> 3) & 15, x & 7];
  if (exponent === 15 && fraction === 7) return Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7));
});

function decode(dtype: string, raw: ArrayBuffer): Pick<TensorData, 'dtype' | 'data'> {
  switch (dtype) {
    case 'F32':
      return { dtype: 'float32', data: new Float32Array(raw) };
    case 'F16':
      return { dtype: 'float32', data: fromFloat16(new Uint16Array(raw)) };
    case 'BF16':
      return { dtype: 'float32', data: new Float32Array(Uint32Array.from(new Uint16Array(raw), (x) => x << 16).buffer) };
    case 'F8_E5M2':
      // The upper byte of a float16.
      return { dtype: 'float32', data: fromFloat16(Uint16Array.from(new Uint8Array(raw), (x) => x << 8)) };
    case 'F8_E4M3':
      return { dtype: 'float32', data: Float32Array.from(new Uint8Array(raw), (x) => E4M3[x]) };
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

/** float16 of finite numbers that stay finite; FLOAT16_OVERFLOW, with the tensor's name, where one does not. */
function halves(name: string, data: Float32Array): Uint16Array {
  const stored = toFloat16(data);
  for (let i = 0; i < stored.length; i++)
    if ((stored[i] & 0x7fff) === 0x7c00 && Number.isFinite(data[i]))
      fail('FLOAT16_OVERFLOW', 'safetensors', `${name} holds ${data[i]}, more than float16 can (65504)`, 'Write float32: leave half out.');
  return stored;
}

/** Writes tensors in the order of their names; float32 ones as float16 where `half` is set. */
export function writeSafetensors(
  tensors: Readonly<Record<string, TensorData>>,
  { metadata = { format: 'pt' }, half = false }: { metadata?: Record<string, string>; half?: boolean } = {},
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata };
  const parts: Uint8Array[] = [];
  let offset = 0;
  // Wider types first: each tensor then begins at a multiple of its width.
  const width = ({ dtype }: TensorData) => (dtype === 'uint8' ? 1 : dtype === 'float32' && half ? 2 : 4);
  const names = Object.keys(tensors).sort((a, b) => width(tensors[b]) - width(tensors[a]) || (a < b ? -1 : 1));
  for (const name of names) {
    const { dtype, shape, data } = tensors[name];
    const stored = dtype === 'float32' && half ? halves(name, data as Float32Array) : data;
    const part = new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
    const type = dtype === 'float32' ? (half ? 'F16' : 'F32') : dtype === 'int32' ? 'I32' : 'U8';
    header[name] = { dtype: type, shape, data_offsets: [offset, offset + part.byteLength] };
    parts.push(part);
    offset += part.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.byteLength / 8) * 8;
  const file = new Uint8Array(8 + padded + offset).fill(0x20, 8, 8 + padded);
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true);
  file.set(json, 8);
  let at = 8 + padded;
  for (const part of parts) {
    file.set(part, at);
    at += part.byteLength;
  }
  return file;
}
