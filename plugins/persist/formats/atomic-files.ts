import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { flush, guarded, unfinished } from './atomic-file.js';

/** Below a folder: files that are being written into it, and such that are whole and on the way to their places. */
const STAGE = unfinished('files');
const WHOLE = '.files.whole';

/** Whether something of this name was never finished, and holds nothing that is needed. */
export const isLeftOver = (name: string): boolean => name === STAGE;

/** Where a file of a folder may stand, in the order in which it is looked for: one that is on the way to its place is the newer one. */
export const placesOf = (path: string, name: string): string[] => [join(path, WHOLE, name), join(path, name)];

/**
 * Writes files that belong together into a folder, which may hold others: first below a hidden name, which is changed when all of them are on disk,
 * and then each is moved to its place. Whoever looks by {@link placesOf} finds all of the old ones or all of the new, also where this process is
 * killed on the way; the next to write ends what it left.
 */
export async function writeFilesTogether(path: string, fill: (stage: string) => Promise<void>): Promise<void> {
  const stage = join(path, STAGE);
  try {
    await guarded(path, async () => {
      await moveToPlaces(path);
      await rm(stage, { recursive: true, force: true });
      await mkdir(stage, { recursive: true });
    });
    await fill(stage);
    await guarded(path, async () => {
      await flush(stage, 'r');
      await rename(stage, join(path, WHOLE));
      await flush(path, 'r');
    });
  } catch (error) {
    await rm(stage, { recursive: true, force: true }).catch(() => undefined);
    throw error;
  }
  await guarded(path, () => moveToPlaces(path));
}

async function moveToPlaces(path: string): Promise<void> {
  const whole = join(path, WHOLE);
  const entries = await readdir(whole, { recursive: true, withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (!entries) return;
  for (const entry of entries.filter((found) => found.isFile())) {
    const from = join(entry.parentPath ?? entry.path, entry.name);
    const to = join(path, relative(whole, from));
    await mkdir(dirname(to), { recursive: true });
    await rename(from, to);
  }
  await rm(whole, { recursive: true, force: true });
}
