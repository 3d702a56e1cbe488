import { fail, type TensorData } from '../../../core/index.js';
import { type Files, missing } from './files.js';
import { toFloat16 } from './float16.js';
import { headerEnd, LENGTH_BYTES, parseHeader } from './safetensors/header.js';
import { decode } from './safetensors/number-types.js';
import type { StoredTensors } from './stored-tensors.js';

/** The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes (huggingface/safetensors, README). */
export interface SafetensorsFile {
  readonly tensors: Map<string, TensorData>;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads a small file's bytes; {@link openSafetensors} is for large ones. Floats of 8, 16 and 64 bits come out as float32; U8 stays; integers come out
 * as int32. Any fault is an error that names the file (BAD_SAFETENSORS).
 */
export function readSafetensors(bytes: Uint8Array, where = 'a safetensors file'): SafetensorsFile {
  const { byteLength: size } = bytes;
  const { places, metadata } = parseHeader(bytes.subarray(LENGTH_BYTES, headerEnd(bytes, size, where)), size, where);
  const tensors = new Map<string, TensorData>();
  for (const [name, { dtype, shape, from, to }] of places)
    tensors.set(name, { shape, ...decode(dtype, ownBuffer(bytes.subarray(from, to))) });
  return { tensors, metadata };
}

/** A file of any size: its header is read and checked at once, each tensor when it is asked for. Errors and numbers as {@link readSafetensors} has them. */
export async function openSafetensors(
  files: Files,
  path: string,
): Promise<{ readonly tensors: StoredTensors; readonly metadata: Readonly<Record<string, string>> }> {
  const where = `${files.where}/${path}`;
  const size = (await files.size(path)) ?? missing(files, path);
  const end = headerEnd(await files.range(path, 0, Math.min(LENGTH_BYTES, size)), size, where);
  const { places, metadata } = parseHeader(await files.range(path, LENGTH_BYTES, end), size, where);
  const tensors = new Map(
    [...places].map(([name, { dtype, shape, from, to }]) => {
      const read = async (): Promise<TensorData> => {
        const bytes = await files.range(path, from, to);
        return { shape, ...decode(dtype, bytes.byteLength === bytes.buffer.byteLength ? (bytes.buffer as ArrayBuffer) : ownBuffer(bytes)) };
      };
      return [name, { shape, where, read }];
    }),
  );
  return { tensors, metadata };
}

/** A copy, which is aligned; slice() of Node's Buffer would share its memory. */
const ownBuffer = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;

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
  const chunks: Uint8Array[] = [];
  let offset = 0;
  // Wider types first: each tensor then begins at a multiple of its width.
  const width = ({ dtype }: TensorData) => (dtype === 'uint8' ? 1 : dtype === 'float32' && half ? 2 : 4);
  const names = Object.keys(tensors).sort((a, b) => width(tensors[b]) - width(tensors[a]) || (a < b ? -1 : 1));
  for (const name of names) {
    const { dtype, shape, data } = tensors[name];
    const stored = dtype === 'float32' && half ? halves(name, data as Float32Array) : data;
    const chunk = new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
    const type = dtype === 'float32' ? (half ? 'F16' : 'F32') : dtype === 'int32' ? 'I32' : 'U8';
    header[name] = { dtype: type, shape, data_offsets: [offset, offset + chunk.byteLength] };
    chunks.push(chunk);
    offset += chunk.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.byteLength / 8) * 8;
  const file = new Uint8Array(8 + padded + offset).fill(0x20, 8, 8 + padded);
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true);
  file.set(json, 8);
  let at = 8 + padded;
  for (const chunk of chunks) {
    file.set(chunk, at);
    at += chunk.byteLength;
  }
  return file;
}
