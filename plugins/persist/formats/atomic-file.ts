import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fail, messageOf } from '../../../core/index.js';

/** The name of what is being written, beside its own. */
export const unfinished = (name: string): string => `.${name}.unfinished`;

/** Asks the disk to keep what was written; without it a power cut can leave a renamed but empty file. */
export async function flush(path: string, flags: string): Promise<void> {
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

/** Does what writes `path`; a failure is FILE_UNWRITABLE, and names it. */
export async function guarded(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    fail('FILE_UNWRITABLE', 'files', `${path}: ${messageOf(error)}`, 'Check the path, its permissions and the space left.', error);
  }
}
