import { fail, messageOf, SteploomError } from '../../../core/index.js';
import type { Files } from '../../persist/formats/files.js';

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

/** A row of a table. */
export interface PictureRow {
  readonly bytes: Uint8Array;
  readonly caption: string;
}

/** A table whose end has been read, which says what is where. */
export interface PictureTable {
  /** How many rows each group has. */
  readonly groups: readonly number[];
  /** The rows of a group. DATA_INVALID where one has no picture, or no text. */
  read(group: number): Promise<PictureRow[]>;
}

const bytesOf = (value: unknown): Uint8Array | null => {
  const bytes = value instanceof Uint8Array ? value : (value as { bytes?: unknown } | null | undefined)?.bytes;
  return bytes instanceof Uint8Array ? bytes : null;
};

/** Opens a table, without reading its rows. DATA_INVALID where it is none, or lacks a column. */
export async function openTable({ files, imageColumn, captionColumn }: PictureTables, path: string): Promise<PictureTable> {
  const where = `${files.where}/${path}`;
  const bad = (what: string, fix: string): never => fail('DATA_INVALID', 'dataset', `${where} ${what}`, fix);
  const unreadable = (error: unknown): never => {
    // What the place of the files says of itself is no fault of the table's.
    if (error instanceof SteploomError) throw error;
    return bad(`cannot be read: ${messageOf(error)}`, 'Fetch it again.');
  };
  const [{ parquetMetadataAsync, parquetReadObjects, parquetSchema }, { compressors }] = await Promise.all([
    import('hyparquet'),
    import('hyparquet-compressors'),
  ]);
  const file = {
    byteLength: (await files.size(path)) ?? 0,
    slice: async (from: number, to?: number) => (await files.range(path, from, to ?? file.byteLength)).slice().buffer,
  };
  const metadata = await parquetMetadataAsync(file).catch(unreadable);
  const columns = parquetSchema(metadata).children.map(({ element }) => element.name);
  for (const [column, option] of [
    [imageColumn, 'imageColumn'],
    [captionColumn, 'captionColumn'],
  ])
    if (!columns.includes(column)) bad(`has no column ${column}, but ${columns.join(', ')}`, `Name one of them with ${option}.`);
  const groups = metadata.row_groups.map(({ num_rows }) => Number(num_rows));
  return {
    groups,
    async read(group) {
      const rowStart = groups.slice(0, group).reduce((sum, rows) => sum + rows, 0);
      const rows = await parquetReadObjects({
        file,
        metadata,
        compressors,
        columns: [imageColumn, captionColumn],
        rowStart,
        rowEnd: rowStart + groups[group],
        // Bytes that are no text stay bytes.
        utf8: false,
      }).catch(unreadable);
      return rows.map((row, i) => {
        const bytes = bytesOf(row[imageColumn]);
        const caption: unknown = [row[captionColumn]].flat()[0];
        const at = `has in row ${rowStart + i + 1}`;
        if (!bytes) return bad(`${at} no picture under ${imageColumn}`, 'Name the column of pictures with imageColumn.');
        if (typeof caption !== 'string') return bad(`${at} no text under ${captionColumn}`, 'Name the column of texts with captionColumn.');
        return { bytes, caption };
      });
    },
  };
}
