import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fail, messageOf } from '../../../core/index.js';

/** Opens a log for writing; `ready` is run before, when its folder is there. A failure is named after the plugin. */
export async function openLog(plugin: string, path: string, flags: 'a' | 'ax', ready?: () => Promise<void>): Promise<FileHandle> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await ready?.();
    return await open(path, flags);
  } catch (error) {
    return fail('FILE_UNWRITABLE', plugin, `${path}: ${messageOf(error)}`, 'Check the path, its permissions and the space left.', error);
  }
}
