import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { flush, guarded, unfinished } from './atomic-file.js';
import type { Files } from './files.js';
import { folder } from './folder.js';

/** The name of a folder that is being replaced, until the new one has its own. */
export const replacedName = (name: string): string => unfinished(`${name}.old`);

/**
 * Fills a folder under another name, and gives it its name when everything is on disk: who finds the name finds all of it.
 * `replace` says that there is one of that name, `stage` tells the other name from that of whoever else may be writing the same.
 * Needs a file system whose rename is atomic, as those of Linux, macOS and Windows are.
 */
export async function writeFolderAtomically(
  path: string,
  write: (files: Files) => Promise<void>,
  { replace = false, stage }: { readonly replace?: boolean; readonly stage?: string } = {},
): Promise<void> {
  const parent = dirname(path);
  const temporary = join(parent, unfinished(stage === undefined ? basename(path) : `${basename(path)}.${stage}`));
  try {
    await guarded(path, async () => {
      await rm(temporary, { recursive: true, force: true });
      await mkdir(temporary, { recursive: true });
    });
    await write(folder(temporary));
    await guarded(path, async () => {
      await flush(temporary, 'r');
      const old = join(parent, replacedName(basename(path)));
      if (replace) await rename(path, old);
      await rename(temporary, path);
      await flush(parent, 'r');
      if (replace) await rm(old, { recursive: true, force: true });
    });
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    throw error;
  }
}

/** Removes a folder that may not be there: it loses its name first, so that who finds the name finds all of it though the process is killed. */
export async function removeFolderAtomically(path: string): Promise<void> {
  await guarded(path, async () => {
    const removed = join(dirname(path), unfinished(`${basename(path)}.removed`));
    await rm(removed, { recursive: true, force: true });
    try {
      await rename(path, removed);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(removed, { recursive: true, force: true });
  });
}
