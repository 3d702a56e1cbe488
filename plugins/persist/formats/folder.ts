import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fail, messageOf } from '../../../core/index.js';
import { writeAtomically } from './atomic-file.js';
import { placesOf, writeFilesTogether } from './atomic-files.js';
import type { Files } from './files.js';

/** Files below a folder of this machine; each has its old content until the new one is whole. Needs Node. */
export const folder = (path: string): Files => ({
  where: path,
  async read(name) {
    for (const place of placesOf(path, name))
      try {
        return new Uint8Array(await readFile(place));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
          fail('FILE_UNREADABLE', 'files', `${place}: ${messageOf(error)}`, 'Check the path and its permissions.', error);
      }
    return null;
  },
  async write(name, content) {
    await writeAtomically(join(path, name), content);
  },
  together: (write) => writeFilesTogether(path, (stage) => write(folder(stage))),
});
