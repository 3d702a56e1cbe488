import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fail, messageOf } from '../../../core/index.js';
import { writeAtomically } from './atomic-file.js';
import type { Files } from './files.js';

/** Files below a folder of this machine; each has its old content until the new one is whole. Needs Node. */
export const folder = (path: string): Files => ({
  where: path,
  async read(name) {
    try {
      return new Uint8Array(await readFile(join(path, name)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      return fail('FILE_UNREADABLE', 'files', `${join(path, name)}: ${messageOf(error)}`, 'Check the path and its permissions.', error);
    }
  },
  async write(name, content) {
    await writeAtomically(join(path, name), content);
  },
});
