import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fail, messageOf } from '../../../core/index.js';

/** A log that is open. */
export interface OpenLog {
  /** Writes at its end. What cannot be written is FILE_UNWRITABLE, and names the file; where there is somebody to tell, it is told once and left out, and the log stays whole. */
  append(content: string | Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Opens a log for writing; `ready` is run before, when its folder is there. A failure is named after the plugin; `tell` is told of those later on. */
export async function openLog(
  plugin: string,
  path: string,
  flags: 'a' | 'ax',
  { ready, tell }: { readonly ready?: () => Promise<void>; readonly tell?: (what: string) => void } = {},
): Promise<OpenLog> {
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
  let { size: whole } = await guarded(() => file.stat());
  let isCut = false;
  /** Takes away what was written of a record that did not fit. */
  const mend = async () => {
    if (isCut) await file.truncate(whole);
    isCut = false;
  };
  let isTold = false;
  return {
    async append(content) {
      if (!tell) return guarded(() => file.appendFile(content));
      try {
        await mend();
        isCut = true;
        await file.appendFile(content);
        isCut = false;
        whole += Buffer.byteLength(content);
      } catch (error) {
        if (!isTold) tell(`${path}: ${messageOf(error)}: what cannot be written is missing in it`);
        isTold = true;
      }
    },
    async close() {
      // Where even that fails the file ends in the middle of a record, as after a crash.
      await mend().catch(() => undefined);
      await guarded(() => file.close());
    },
  };
}
