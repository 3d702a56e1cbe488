import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fail, messageOf } from '../../../core/index.js';
import { guarded } from '../../persist/formats/atomic-file.js';
import type { Files } from '../../persist/formats/files.js';
import { onlyOne } from '../../persist/formats/only-one.js';

/** Tables of a data set, and which of their columns matter. */
export interface PictureTables {
  readonly files: Files;
  /** The .parquet files to read, in their order. */
  readonly paths: readonly string[];
  /** Pictures: bytes, or bytes with a path, as the library datasets writes them. */
  readonly imageColumn: string;
  /** Texts, or lists of which the first is taken. */
  readonly captionColumn: string;
}

/** The endings of pictures by how their bytes begin: text of Latin-1 at a place. */
const BEGINNINGS: readonly (readonly [ending: string, begin: string, at: number])[] = [
  ['png', '\x89PNG', 0],
  ['jpg', '\xff\xd8\xff', 0],
  ['webp', 'WEBP', 8],
  ['gif', 'GIF8', 0],
  ['bmp', 'BM', 0],
  ['tiff', 'II*\0', 0],
  ['tiff', 'MM\0*', 0],
  ['avif', 'ftypavif', 4],
];

/** A picture's ending; that of PNG where its bytes are of no known kind, which decoding will say. */
const endingOf = (bytes: Uint8Array): string =>
  BEGINNINGS.find(([, begin, at]) => Buffer.from(bytes.subarray(at, at + begin.length)).toString('latin1') === begin)?.[0] ?? 'png';

const bytesOf = (value: unknown): Uint8Array | null => {
  const bytes = value instanceof Uint8Array ? value : (value as { bytes?: unknown } | null | undefined)?.bytes;
  return bytes instanceof Uint8Array ? bytes : null;
};

/**
 * Writes the pictures of tables into a folder of the kind that imageFolder() reads, with a metadata.jsonl, once: a folder that is there is taken as it is. One group of rows is in memory at
 * a time. DATA_INVALID where columns or pictures are missing.
 */
export async function unpack(tables: PictureTables, into: string): Promise<void> {
  const isDone = () =>
    stat(into).then(
      () => true,
      () => false,
    );
  await onlyOne(`${into}.lock`, isDone, () =>
    guarded(into, async () => {
      const beside = `${into}.${randomUUID()}`;
      try {
        await mkdir(beside, { recursive: true });
        const rows: string[] = [];
        for (const path of tables.paths) await unpackTable(tables, path, beside, rows);
        await writeFile(join(beside, 'metadata.jsonl'), rows.join('\n'));
        await rename(beside, into);
      } finally {
        await rm(beside, { recursive: true, force: true });
      }
    }),
  );
}

/** The pictures of one table; a line of metadata for each goes to `rows`. */
async function unpackTable(
  { files, imageColumn, captionColumn }: PictureTables,
  path: string,
  folder: string,
  rows: string[],
): Promise<void> {
  const where = `${files.where}/${path}`;
  const bad = (what: string, fix: string): never => fail('DATA_INVALID', 'dataset', `${where} ${what}`, fix);
  const [{ parquetMetadataAsync, parquetReadObjects, parquetSchema }, { compressors }] = await Promise.all([
    import('hyparquet'),
    import('hyparquet-compressors'),
  ]);
  const file = {
    byteLength: (await files.size(path)) ?? 0,
    slice: async (from: number, to?: number) => (await files.range(path, from, to ?? file.byteLength)).slice().buffer,
  };
  const metadata = await parquetMetadataAsync(file).catch((error: unknown) =>
    bad(`cannot be read: ${messageOf(error)}`, 'Fetch it again.'),
  );
  const columns = parquetSchema(metadata).children.map(({ element }) => element.name);
  for (const [column, option] of [
    [imageColumn, 'imageColumn'],
    [captionColumn, 'captionColumn'],
  ])
    if (!columns.includes(column)) bad(`has no column ${column}, but ${columns.join(', ')}`, `Name one of them with ${option}.`);
  let rowStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = rowStart + Number(num_rows);
    const group = await parquetReadObjects({
      file,
      metadata,
      compressors,
      columns: [imageColumn, captionColumn],
      rowStart,
      rowEnd,
      // Bytes that are no text stay bytes.
      utf8: false,
    }).catch((error: unknown) => bad(`cannot be read: ${messageOf(error)}`, 'Fetch it again.'));
    for (const [i, row] of group.entries()) {
      const bytes = bytesOf(row[imageColumn]);
      const caption: unknown = [row[captionColumn]].flat()[0];
      const at = `has in row ${rowStart + i + 1}`;
      if (!bytes) return bad(`${at} no picture under ${imageColumn}`, 'Name the column of pictures with imageColumn.');
      if (typeof caption !== 'string') return bad(`${at} no text under ${captionColumn}`, 'Name the column of texts with captionColumn.');
      const name = `${String(rows.length).padStart(8, '0')}.${endingOf(bytes)}`;
      await writeFile(join(folder, name), bytes);
      rows.push(JSON.stringify({ file_name: name, [captionColumn]: caption }));
    }
    rowStart = rowEnd;
  }
}
