import { access, rename } from 'node:fs/promises';
import { extname } from 'node:path';

const isFree = (path: string): Promise<boolean> =>
  access(path).then(
    () => false,
    () => true,
  );

/** The next free name of the kind log-1.jsonl. */
export async function nextFreeName(path: string): Promise<string> {
  const type = extname(path);
  for (let n = 1; ; n++) {
    const other = `${path.slice(0, path.length - type.length)}-${n}${type}`;
    if (await isFree(other)) return other;
  }
}

/** Renames a file or folder to the next free name. */
export const renameToNext = async (path: string): Promise<void> => rename(path, await nextFreeName(path));
