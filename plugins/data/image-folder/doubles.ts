import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';

/** How many of these files have the same bytes as one before. Only those of equal length are read. */
export async function countDoubles(paths: readonly string[]): Promise<number> {
  const seen = new Map<number, { first: string; hashes: Set<string> | null }>();
  const hashOf = async (path: string) =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('base64');
  let doubles = 0;
  for (const path of paths) {
    const { size } = await stat(path);
    const known = seen.get(size);
    if (!known) {
      seen.set(size, { first: path, hashes: null });
      continue;
    }
    known.hashes ??= new Set([await hashOf(known.first)]);
    const hash = await hashOf(path);
    if (known.hashes.has(hash)) doubles++;
    known.hashes.add(hash);
  }
  return doubles;
}
