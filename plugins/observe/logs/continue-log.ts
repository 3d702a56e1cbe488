import { access, readFile, rename } from 'node:fs/promises';
import { extname } from 'node:path';
import { writeAtomically } from '../../persist/formats/atomic-file.js';

/**
 * Readies a log of lines for a run that begins after `step` steps: a resumed run drops the lines of later steps, and one that was cut
 * in the middle; a new run (step 0) moves the file to the next free name of the kind log-1.jsonl. `header` lines stay.
 */
export async function continueLog(path: string, step: number, stepOf: (line: string) => number, header = 0): Promise<void> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if (text === '') return;
  if (step === 0) {
    const type = extname(path);
    for (let n = 1; ; n++) {
      const other = `${path.slice(0, path.length - type.length)}-${n}${type}`;
      const free = await access(other).then(
        () => false,
        () => true,
      );
      if (free) return rename(path, other);
    }
  }
  const lines = text.split('\n').slice(0, -1);
  const kept = lines.filter((line, i) => {
    if (i < header) return true;
    try {
      return stepOf(line) <= step;
    } catch {
      return false;
    }
  });
  if (kept.length < lines.length || !text.endsWith('\n')) await writeAtomically(path, kept.map((line) => `${line}\n`).join(''));
}
