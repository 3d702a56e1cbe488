import { access, constants, type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fail, messageOf } from '../../../core/index.js';
import { writeAtomically } from './atomic-file.js';
import { placesOf, writeFilesTogether } from './atomic-files.js';
import { cutShort, type Files, missing } from './files.js';

/** More than this is not read at once: Node's calls end at 2 GiB. */
const AT_ONCE = 2 ** 30;

/** Does something with the file of this name, wherever it stands; null where there is none. */
async function found<T>(path: string, name: string, work: (place: string) => Promise<T>): Promise<T | null> {
  for (const place of placesOf(path, name))
    try {
      return await work(place);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        fail('FILE_UNREADABLE', 'files', `${place}: ${messageOf(error)}`, 'Check the path and its permissions.', error);
    }
  return null;
}

/** Fills `bytes` from a position of a file on; returns how many there were. */
async function fill(file: FileHandle, bytes: Uint8Array, from: number): Promise<number> {
  let done = 0;
  while (done < bytes.byteLength) {
    const { bytesRead } = await file.read(bytes, done, Math.min(AT_ONCE, bytes.byteLength - done), from + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** Why nothing can be made in a folder, or in the nearest above it that is there; null where it can. */
async function unwritable(path: string): Promise<string | null> {
  try {
    if (!(await stat(path)).isDirectory()) return `${path} is no folder`;
    await access(path, constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path;
    return isThere ? messageOf(error) : unwritable(dirname(path));
  }
}

/** Files below a folder of this machine; each has its old content until the new one is whole. Needs Node. */
export const folder = (path: string): Files => ({
  where: path,
  read: (name) => found(path, name, async (place) => new Uint8Array(await readFile(place))),
  size: (name) => found(path, name, async (place) => (await stat(place)).size),
  async range(name, from, to) {
    const bytes = new Uint8Array(to - from);
    const read = await found(path, name, async (place) => {
      const file = await open(place);
      try {
        return await fill(file, bytes, from);
      } finally {
        await file.close();
      }
    });
    if (read === null) missing(this, name);
    return read === bytes.byteLength ? bytes : cutShort(this, name, from + (read ?? 0), to);
  },
  async write(name, content) {
    await writeAtomically(join(path, name), content);
  },
  unwritable: () => unwritable(resolve(path)),
  writeParts: (name, parts) => writeAtomically(join(path, name), parts),
  together: (write) => writeFilesTogether(path, (stage) => write(folder(stage))),
});
