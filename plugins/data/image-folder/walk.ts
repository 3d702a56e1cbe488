import { readdir, realpath, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { RUN_FILE, runOf } from '../../persist/formats/run-file.js';

/** What is below a folder: paths from it, with forward slashes, in the order of their letters. */
export interface Below {
  readonly files: readonly string[];
  /** Neither files nor folders: pipes, devices, links to nowhere. What they would give may never end. */
  readonly odd: readonly string[];
  /** Folders that runs write into, which are not entered: what they have drawn is nobody's data. */
  readonly runs: readonly string[];
}

/** All files below a folder, links followed; what is hidden is left out, and so are folders of runs. Throws where the folder itself cannot be read. */
export async function walk(folder: string): Promise<Below> {
  const files: string[] = [];
  const odd: string[] = [];
  const runs: string[] = [];
  /** `above` are the real places of the folders that lead here: a link to one of them would never end. */
  const enter = async (path: string, above: readonly string[]): Promise<void> => {
    const place = await realpath(join(folder, path));
    if (above.includes(place)) return;
    const all = await readdir(place, { withFileTypes: true });
    // One that is asked for is read all the same.
    if (path !== '' && all.some(({ name }) => name === RUN_FILE) && (await runOf(place)) !== null) {
      runs.push(path);
      return;
    }
    for (const entry of all.filter(({ name }) => !name.startsWith('.')).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const name = posix.join(path, entry.name);
      const found = entry.isSymbolicLink() ? await stat(join(folder, name)).catch(() => null) : entry;
      if (found?.isFile()) files.push(name);
      else if (found?.isDirectory()) await enter(name, [...above, place]);
      else odd.push(name);
    }
  };
  await enter('', []);
  return { files, odd, runs };
}
