import { fail, messageOf } from '../../../core/index.js';
import { decodeText } from './text.js';

/** Where a model's files are read from and written to; paths are relative, with forward slashes. */
export interface Files {
  /** How messages name the place. */
  readonly where: string;
  /** What helps where a file is missing; that is to correct the path where nothing is said here. */
  readonly ifMissing?: string | undefined;
  /** Null where there is no such file. */
  read(path: string): Promise<Uint8Array | null>;
  /** How many bytes a file has; null where there is no such file. */
  size(path: string): Promise<number | null>;
  /** A copy of a file's bytes, from `from` up to the one before `to`; an error where the file is missing or ends before. */
  range(path: string, from: number, to: number): Promise<Uint8Array>;
  write(path: string, content: Uint8Array | string): Promise<void>;
  /** Why nothing can be written here; null where it can, as far as this shows without writing. Absent where only writing shows it. */
  unwritable?(): Promise<string | null>;
  /** Writes a file part by part, with as little of it in memory; absent where the place has no means to, see the function of this name. */
  writeParts?(path: string, parts: AsyncIterable<Uint8Array>): Promise<void>;
  /** Writes several files, of which a reader finds all or none. Absent where the place has no means to; see {@link writeTogether}. */
  together?(write: (files: Files) => Promise<void>): Promise<void>;
}

/** Files in memory. */
export const inMemory = (files = new Map<string, Uint8Array>()): Files => ({
  where: 'memory',
  read: async (path) => files.get(path) ?? null,
  size: async (path) => files.get(path)?.byteLength ?? null,
  async range(path, from, to) {
    const file = files.get(path) ?? missing(this, path);
    return to <= file.byteLength ? new Uint8Array(file.subarray(from, to)) : cutShort(this, path, file.byteLength, to);
  },
  write: async (path, content) => {
    files.set(path, typeof content === 'string' ? new TextEncoder().encode(content) : content);
  },
});

/** Says that a file is not there. */
export const missing = (files: Pick<Files, 'where' | 'ifMissing'>, path: string): never =>
  fail('FILE_MISSING', 'files', `${files.where}/${path} is missing`, files.ifMissing ?? 'Check the path of the model.');

/** Says that a file ends before bytes that were asked for. */
export const cutShort = (files: Pick<Files, 'where'>, path: string, end: number, wanted: number): never =>
  fail(
    'FILE_UNREADABLE',
    'files',
    `${files.where}/${path} ends at byte ${end}, bytes up to ${wanted} were expected`,
    'Has it changed? Start again.',
  );

/** Writes files that belong together: where the place has the means, a reader finds all of the new ones or all of the old. */
export const writeTogether = (files: Files, write: (files: Files) => Promise<void>): Promise<void> =>
  files.together ? files.together(write) : write(files);

/** Writes a file part by part, where the place has the means; elsewhere they are put together first. */
export async function writeParts(files: Files, path: string, parts: AsyncIterable<Uint8Array>): Promise<void> {
  if (files.writeParts) return files.writeParts(path, parts);
  const all: Uint8Array[] = [];
  for await (const part of parts) all.push(part);
  const whole = new Uint8Array(all.reduce((size, { byteLength }) => size + byteLength, 0));
  let at = 0;
  for (const part of all) {
    whole.set(part, at);
    at += part.byteLength;
  }
  await files.write(path, whole);
}

/** A file that must be there. */
export async function readFile(files: Files, path: string): Promise<Uint8Array> {
  return (await files.read(path)) ?? missing(files, path);
}

/** JSON as Python writes it, in which infinities stand as words: as numbers that are read as infinite. What is in strings stays. */
const withoutInfinities = (text: string): string =>
  text.includes('Infinity') ? text.replace(/"(?:[^"\\]|\\.)*"|Infinity/g, (part) => (part === 'Infinity' ? '1e999' : part)) : text;

/** A JSON object that must be there. Python's `Infinity` and `-Infinity` are read as what they are. */
export async function readJson(files: Files, path: string): Promise<Record<string, unknown>> {
  const text =
    decodeText(await readFile(files, path)) ??
    fail('BAD_JSON', 'files', `${files.where}/${path} is neither UTF-8 nor UTF-16 with its mark`, 'Save it as UTF-8.');
  try {
    const value: unknown = JSON.parse(withoutInfinities(text));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (error) {
    fail('BAD_JSON', 'files', `${files.where}/${path} is not JSON: ${messageOf(error)}`, 'Mend or replace the file.');
  }
  return fail('BAD_JSON', 'files', `${files.where}/${path} holds no JSON object`, 'Mend or replace the file.');
}
