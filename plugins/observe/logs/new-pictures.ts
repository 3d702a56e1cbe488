import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** The grids of a folder (grid*.png) as they come. */
export class NewPictures {
  /** Those that were seen already, by name and time. */
  private readonly seen = new Set<string>();

  constructor(private readonly folder: string) {}

  /** Those that are there and were not seen yet; `see` counts one as seen. */
  async list(): Promise<{ readonly name: string; readonly path: string; readonly see: () => void }[]> {
    const found = [];
    for (const name of await readdir(this.folder).catch(() => [])) {
      if (!/^grid.*\.png$/.test(name)) continue;
      const path = join(this.folder, name);
      const key = `${name} ${(await stat(path)).mtimeMs}`;
      if (!this.seen.has(key)) found.push({ name, path, see: () => void this.seen.add(key) });
    }
    return found;
  }

  /** Counts all that are there as seen. */
  async skip(): Promise<void> {
    for (const { see } of await this.list()) see();
  }
}
