import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fail, messageOf, SteploomError } from '../../../core/index.js';

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

/** A file whose old content stays until the new one is whole; of one in parts, no more than one is in memory. */
export async function writeAtomically(path: string, content: string | Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = join(dirname(path), unfinished(basename(path)));
  await guarded(path, async () => {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(temporary, 'w');
    try {
      await writeFile(handle, content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
    await flush(dirname(path), 'r');
  }).catch(async (error) => {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  });
}

/** Does what writes `path`; a failure is FILE_UNWRITABLE, and names it, unless it has a code of its own (of what was to be written). */
export async function guarded(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof SteploomError) throw error;
    fail('FILE_UNWRITABLE', 'files', `${path}: ${messageOf(error)}`, 'Check the path, its permissions and the space left.', error);
  }
}
