import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { guarded } from '../../persist/formats/atomic-file.js';
import { onlyOne } from '../../persist/formats/only-one.js';
import { openTable, type PictureTables } from './table.js';

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
async function unpackTable(tables: PictureTables, path: string, folder: string, rows: string[]): Promise<void> {
  const table = await openTable(tables, path);
  for (const group of table.groups.keys())
    for (const { bytes, caption } of await table.read(group)) {
      const name = `${String(rows.length).padStart(8, '0')}.${endingOf(bytes)}`;
      await writeFile(join(folder, name), bytes);
      rows.push(JSON.stringify({ file_name: name, [tables.captionColumn]: caption }));
    }
}
