import { fail, type TensorData } from '../../../core/index.js';
import { type Files, missing, writeParts } from './files.js';
import { toFloat16 } from './float16.js';
import { headerEnd, LENGTH_BYTES, parseHeader } from './safetensors/header.js';
import { BYTES, decode } from './safetensors/number-types.js';
import type { StoredTensor, StoredTensors } from './stored-tensors.js';

/** The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes (huggingface/safetensors, README). */
export interface SafetensorsFile {
  readonly tensors: Map<string, TensorData>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** All that follows a file's header: its tensors' bytes. */
export const dataOf = (bytes: Uint8Array): Uint8Array => bytes.subarray(headerEnd(bytes, bytes.byteLength, 'a safetensors file'));

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

export interface WriteSafetensorsOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** Writes float32 as float16; FLOAT16_OVERFLOW where a number is too large for it. */
  readonly half?: boolean;
}

interface Part {
  readonly name: string;
  readonly dtype: TensorData['dtype'];
  readonly shape: readonly number[];
}

/** A file's bytes up to its first tensor, and the tensors in the order of the file: by name, and wider types first, so that each begins at a multiple of its width. */
function laidOut<T extends Part>(parts: Iterable<T>, { metadata = { format: 'pt' }, half = false }: WriteSafetensorsOptions) {
  const typeOf = ({ dtype }: Part) => (dtype === 'float32' ? (half ? 'F16' : 'F32') : dtype === 'int32' ? 'I32' : 'U8');
  const widthOf = (part: Part) => BYTES[typeOf(part)];
  const inOrder = [...parts].sort((a, b) => widthOf(b) - widthOf(a) || (a.name < b.name ? -1 : 1));
  const header: Record<string, unknown> = { __metadata__: metadata };
  let size = 0;
  for (const part of inOrder) {
    const from = size;
    size += part.shape.reduce((a, b) => a * b, widthOf(part));
    header[part.name] = { dtype: typeOf(part), shape: part.shape, data_offsets: [from, size] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.byteLength / 8) * 8;
  const head = new Uint8Array(LENGTH_BYTES + padded).fill(0x20, LENGTH_BYTES);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, LENGTH_BYTES);
  return { head, inOrder, size };
}

/** A tensor's bytes in a file. */
function bytesOf(name: string, { dtype, data }: TensorData, half: boolean): Uint8Array {
  const stored = dtype === 'float32' && half ? halves(name, data as Float32Array) : data;
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

/** A small file's bytes; {@link writeSafetensorsTo} is for large ones. Tensors stand in the order of their names. */
export function writeSafetensors(tensors: Readonly<Record<string, TensorData>>, options: WriteSafetensorsOptions = {}): Uint8Array {
  const { head, inOrder, size } = laidOut(
    Object.entries(tensors).map(([name, tensor]) => ({ name, ...tensor })),
    options,
  );
  const file = new Uint8Array(head.byteLength + size);
  file.set(head);
  let at = head.byteLength;
  for (const { name, ...tensor } of inOrder) {
    const bytes = bytesOf(name, tensor, options.half ?? false);
    file.set(bytes, at);
    at += bytes.byteLength;
  }
  return file;
}

/** A tensor that is read when its turn to be written comes. */
export interface TensorToWrite extends Pick<StoredTensor, 'shape' | 'read'> {
  readonly name: string;
  /** float32 where it is left out. */
  readonly dtype?: TensorData['dtype'];
}

/** Writes a file of any size: the same bytes as {@link writeSafetensors}, but one tensor after another, of which no more than one is held. */
export async function writeSafetensorsTo(
  files: Files,
  path: string,
  tensors: Iterable<TensorToWrite>,
  options: WriteSafetensorsOptions = {},
): Promise<void> {
  const { head, inOrder } = laidOut(
    [...tensors].map((tensor) => ({ dtype: 'float32' as const, ...tensor })),
    options,
  );
  async function* parts() {
    yield head;
    for (const { name, dtype, shape, read } of inOrder) {
      const tensor = await read();
      if (tensor.dtype !== dtype || tensor.data.length !== shape.reduce((a, b) => a * b, 1))
        fail(
          'WEIGHTS_MISMATCH',
          'safetensors',
          `${name} is [${tensor.shape}] of ${tensor.dtype}, expected [${shape}] of ${dtype}`,
          'Save the model again.',
        );
      yield bytesOf(name, tensor, options.half ?? false);
    }
  }
  await writeParts(files, path, parts());
}
