import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The file that names a folder's run. */
export const RUN_FILE = 'run.json';

/** The run that a folder belongs to; null where it says none. */
export async function runOf(folder: string): Promise<string | null> {
  try {
    const { id } = JSON.parse(await readFile(join(folder, RUN_FILE), 'utf8')) as { id?: unknown };
    return typeof id === 'string' ? id : null;
  } catch {
    return null;
  }
}
