import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fail, messageOf } from '../../../core/index.js';
import type { Files } from './files.js';
import { folder } from './folder.js';

/** Names of folders that are being written; what a run that was killed left of them is removed by the next. */
const unfinished = (name: string): string => `.${name}.unfinished`;
const UNFINISHED = /^\..+\.unfinished$/;

/** Asks the disk to keep what was written; without it a power cut can leave a renamed but empty file. */
async function flush(path: string, flags: string): Promise<void> {
  const handle = await open(path, flags);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A file whose old content stays until the new one is whole. */
export async function writeAtomically(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = join(dirname(path), unfinished(basename(path)));
  await guarded(path, async () => {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(temporary, 'w');
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
    await flush(dirname(path), 'r');
  }).catch(async (error) => {
    await rm(temporary, { force: true });
    throw error;
  });
}

/**
 * Fills a folder under another name, and gives it its name when everything is on disk: who finds the name finds all of it.
 * `replace` says that there is one of that name.
 * Needs a file system whose rename is atomic, as those of Linux, macOS and Windows are.
 */
export async function writeFolderAtomically(
  path: string,
  write: (files: Files) => Promise<void>,
  { replace = false }: { readonly replace?: boolean } = {},
): Promise<void> {
  const parent = dirname(path);
  const temporary = join(parent, unfinished(basename(path)));
  try {
    await guarded(path, async () => {
      await rm(temporary, { recursive: true, force: true });
      await mkdir(temporary, { recursive: true });
    });
    await write(folder(temporary));
    await guarded(path, async () => {
      for (const name of await readdir(temporary)) await flush(join(temporary, name), 'r+');
      await flush(temporary, 'r');
      const old = join(parent, unfinished(`${basename(path)}.old`));
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

/** Removes what runs that were killed left unfinished. */
export async function removeUnfinished(parent: string): Promise<void> {
  for (const name of await readdir(parent).catch(() => []))
    if (UNFINISHED.test(name)) await rm(join(parent, name), { recursive: true, force: true });
}

async function guarded(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    fail('FILE_UNWRITABLE', 'files', `${path}: ${messageOf(error)}`, 'Check the path, its permissions and the space left.', error);
  }
}
