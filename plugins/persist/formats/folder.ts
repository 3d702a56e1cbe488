import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fail, messageOf } from '../../../core/index.js';
import type { Files } from './files.js';

/** Files below a folder of this machine. Needs Node. */
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
    const target = join(path, name);
    try {
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, content);
    } catch (error) {
      fail('FILE_UNWRITABLE', 'files', `${target}: ${messageOf(error)}`, 'Check the path, its permissions and the space left.', error);
    }
  },
});
