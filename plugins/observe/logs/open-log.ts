import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fail, messageOf } from '../../../core/index.js';

/** A log that is open: what cannot be written is FILE_UNWRITABLE, and names the file. */
export interface OpenLog {
  append(content: string | Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Opens a log for writing; `ready` is run before, when its folder is there. A failure is named after the plugin. */
export async function openLog(plugin: string, path: string, flags: 'a' | 'ax', ready?: () => Promise<void>): Promise<OpenLog> {
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      return fail('FILE_UNWRITABLE', plugin, `${path}: ${messageOf(error)}`, 'Check the path, its permissions and the space left.', error);
    }
  };
  const file = await guarded(async () => {
    await mkdir(dirname(path), { recursive: true });
    await ready?.();
    return open(path, flags);
  });
  return {
    append: (content) => guarded(() => file.appendFile(content)),
    close: () => guarded(() => file.close()),
  };
}
