import { fail, messageOf } from '../../../../core/index.js';
import { BYTES } from './number-types.js';

/** The header begins behind its length, a number of this many bytes. */
export const LENGTH_BYTES = 8;

interface Entry {
  readonly dtype: string;
  readonly shape: number[];
  readonly data_offsets: readonly [number, number];
}

/** Where a tensor lies in its file. */
export interface Place {
  readonly dtype: string;
  readonly shape: number[];
  /** The file's bytes, from the first up to the one behind the last. */
  readonly from: number;
  readonly to: number;
}

export interface Header {
  readonly places: ReadonlyMap<string, Place>;
  readonly metadata: Readonly<Record<string, string>>;
}

const bad = (where: string, what: string): never =>
  fail('BAD_SAFETENSORS', 'safetensors', `${where}: ${what}`, 'The file is broken or of another format: fetch it again.');

/** Where the header ends, by a file's first 8 bytes and the file's size. */
export function headerEnd(first: Uint8Array, size: number, where: string): number {
  if (size < LENGTH_BYTES) bad(where, `${size} bytes are too few`);
  const length = Number(new DataView(first.buffer, first.byteOffset, LENGTH_BYTES).getBigUint64(0, true));
  if (length > 100_000_000 || LENGTH_BYTES + length > size) bad(where, `its header claims ${length} bytes, the file has ${size}`);
  return LENGTH_BYTES + length;
}

/** Parses and checks a header, the bytes behind its length, of a file of `size` bytes. Any fault is an error that names the file. */
export function parseHeader(json: Uint8Array, size: number, where: string): Header {
  let header: Record<string, unknown> = {};
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(json);
    header = JSON.parse(text);
  } catch (error) {
    bad(where, `its header is not JSON (${messageOf(error)})`);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) bad(where, 'its header is not an object');
  const twice = repeatedKey(text);
  if (twice !== null) bad(where, `its header has ${JSON.stringify(twice)} twice`);
  const { __metadata__: metadata, ...rest } = header;
  const start = LENGTH_BYTES + json.byteLength;
  const entries = Object.entries(rest) as [string, Entry][];
  for (const [name, entry] of entries) checkEntry(name, entry, size - start, where);
  checkCover(entries, size - start, where);
  return {
    places: new Map(
      entries.map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [from, to],
          },
        ]) => [name, { dtype, shape, from: start + from, to: start + to }],
      ),
    ),
    metadata: checkedMetadata(metadata ?? {}, where),
  };
}

function checkEntry(name: string, entry: Entry, end: number, where: string): void {
  const natural = (x: unknown) => Number.isSafeInteger(x) && (x as number) >= 0;
  const known = typeof entry?.dtype === 'string' && Object.hasOwn(BYTES, entry.dtype);
  if (!known) bad(where, `${name} has the data type ${JSON.stringify(entry?.dtype)}`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!Array.isArray(shape) || !shape.every(natural)) bad(where, `${name} has the shape ${JSON.stringify(shape)}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(natural))
    bad(where, `${name} has the offsets ${JSON.stringify(offsets)}`);
  const [from, to] = offsets;
  const size = shape.reduce((a, b) => a * b, BYTES[dtype]);
  if (to > end || to - from !== size) bad(where, `${name} spans bytes ${from} to ${to} of ${end}, its shape asks for ${size}`);
}

/** Every byte behind the header belongs to one tensor. */
function checkCover(entries: readonly [string, Entry][], end: number, where: string): void {
  let last = 0;
  const inOrder = [...entries].sort(([, { data_offsets: a }], [, { data_offsets: b }]) => a[0] - b[0] || a[1] - b[1]);
  for (const [name, { data_offsets: offsets }] of inOrder) {
    if (offsets[0] !== last) bad(where, `${name} begins at byte ${offsets[0]}, expected ${last}: tensors overlap or leave a gap`);
    last = offsets[1];
  }
  if (last !== end) bad(where, `${end - last} bytes belong to no tensor`);
}

function checkedMetadata(metadata: unknown, where: string): Record<string, string> {
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) return bad(where, 'its metadata is not an object');
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== 'string') bad(where, `its metadata has ${JSON.stringify(value)} as ${key}, which is no string`);
  return metadata as Record<string, string>;
}

/** A key that stands twice in one object of a JSON text, of which JSON.parse would keep the last without a word; null if there is none. */
function repeatedKey(json: string): string | null {
  const open: Set<string>[] = [];
  // What the pattern finds, in valid JSON: strings, a string with a colon behind it being a key, and the ends of objects.
  for (const [token, colon] of json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(token.slice(0, -colon.length)) as string;
      const keys = open[open.length - 1];
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return null;
}
