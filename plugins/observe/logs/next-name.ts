import { access, rename } from 'node:fs/promises';
import { extname } from 'node:path';

/** Renames a file or folder to the next free name of the kind log-1.jsonl. */
export async function renameToNext(path: string): Promise<void> {
  const type = extname(path);
  for (let n = 1; ; n++) {
    const other = `${path.slice(0, path.length - type.length)}-${n}${type}`;
    const free = await access(other).then(
      () => false,
      () => true,
    );
    if (free) return rename(path, other);
  }
}
