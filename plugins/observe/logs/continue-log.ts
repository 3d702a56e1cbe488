import { readFile } from 'node:fs/promises';
import { writeAtomically } from '../../persist/formats/atomic-file.js';
import { renameToNext } from './next-name.js';

/** What a log's line is about: the steps made by then, and the run's id where it has one. */
export interface LineOf {
  readonly step: number;
  readonly run?: unknown;
}

/**
 * Readies a log of lines for the run `runId` that begins after `step` steps: a resumed run drops the lines of later steps, and one that was cut
 * in the middle; the log of another run is moved to the next free name of the kind log-1.jsonl. `header` lines stay. Returns the lines kept.
 */
export async function continueLog(
  path: string,
  { step, runId, lineOf, header = 0 }: { step: number; runId: string; lineOf: (line: string, header: string) => LineOf; header?: number },
): Promise<readonly string[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  if (text === '') return [];
  const lines = text.split('\n').slice(0, -1);
  const about = lines.map((line, i): LineOf | null => {
    if (i < header) return null;
    try {
      return lineOf(line, lines[0]);
    } catch {
      return null;
    }
  });
  if (step === 0 || about.some((line) => typeof line?.run === 'string' && line.run !== runId)) {
    await renameToNext(path);
    return [];
  }
  const kept = lines.filter((_, i) => i < header || (about[i]?.step ?? Number.NaN) <= step);
  if (kept.length < lines.length || !text.endsWith('\n')) await writeAtomically(path, kept.map((line) => `${line}\n`).join(''));
  return kept;
}
