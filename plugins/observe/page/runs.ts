import { createReadStream } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FinishedRecord } from '../../../core/index.js';
import { LOCK } from '../../persist/folders/former-run.js';
import { holderOf } from '../../persist/formats/lock.js';
import { OUTCOMES, runFactsOf } from '../../persist/formats/run-file.js';
import { Records } from './records.js';
import type { RunView } from './server.js';

/** What was read of a run's log so far: records, thinned out as they become many. */
class LogView extends Records {
  private read = 0;

  /** Reads what came since; a log that is shorter than before is another's. */
  async update(path: string, size: number): Promise<void> {
    if (size < this.read) {
      this.clear();
      this.read = 0;
    }
    if (size === this.read) return;
    let rest = Buffer.alloc(0);
    for await (const chunk of createReadStream(path, { start: this.read, end: size - 1 })) {
      const bytes = Buffer.concat([rest, chunk as Buffer]);
      const end = bytes.lastIndexOf(10) + 1;
      for (const line of bytes.toString('utf8', 0, end).split('\n')) this.take(line);
      this.read += end;
      rest = bytes.subarray(end);
      // No line of a log is as long: whatever it is, it is passed over.
      if (rest.length > LONGEST_LINE) {
        this.read += rest.length;
        rest = Buffer.alloc(0);
      }
    }
  }

  private take(line: string): void {
    if (line === '') return;
    try {
      const record: unknown = JSON.parse(line);
      if (typeof record === 'object' && record !== null && !Array.isArray(record)) this.addIfOfUse(record as FinishedRecord);
    } catch {
      // It is just being written, or is nothing of ours.
    }
  }
}

const LONGEST_LINE = 1 << 20;

/** What the log at `path` tells of the run `runId` up to `step`: the part before a resumption. Nothing where it cannot be read. */
export async function formerRecords(path: string, { step, runId }: { step: number; runId: string }): Promise<FinishedRecord[]> {
  const view = new LogView();
  const facts = await lstat(path).catch(() => null);
  if (facts?.isFile()) await view.update(path, facts.size).catch(() => undefined);
  return view.list.filter((record) => record.run === runId && Number(record.step) <= step);
}

/** What a run's folder says of it: what it was asked to do, how long it is to be, and whether it goes on. */
async function told(path: string): Promise<Omit<RunView, 'name' | 'records' | 'folder'>> {
  // Before the file: a run writes how it ended, and then lets go of its folder.
  const lock = join(path, LOCK);
  const goesOn = (await holderOf(lock)) !== null;
  const facts = await runFactsOf(path);
  if (!facts) return {};
  const { options, prompts, steps, stepsPerEpoch, outcome, error } = facts;
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) > 0;
  // Whoever wrote no length, as runs once did, writes no ending either: only what it left behind tells that it has died.
  const died = async () => isCount(steps) || (await lstat(lock).catch(() => null)) !== null;
  const state = OUTCOMES.find((one) => one === outcome) ?? (goesOn ? 'running' : (await died()) ? 'died' : undefined);
  return {
    ...(typeof options === 'object' && options !== null ? { options } : {}),
    ...(Array.isArray(prompts) ? { prompts } : {}),
    ...(isCount(steps) ? { steps } : {}),
    ...(isCount(stepsPerEpoch) ? { stepsPerEpoch } : {}),
    ...(state ? { state } : {}),
    ...(typeof error === 'string' ? { error } : {}),
  };
}

/**
 * Reads the runs below a folder, each a folder with a log.jsonl: only what came since the last time, by pieces, and of a long one every so-manyth
 * record. A log that cannot be read shows its run without records.
 */
export function runsBelow(folder: string): () => Promise<RunView[]> {
  const known = new Map<string, LogView>();
  const look = async (name: string): Promise<RunView | null> => {
    const path = join(folder, name);
    const facts = await lstat(join(path, 'log.jsonl')).catch(() => null);
    if (!facts?.isFile()) return null;
    const view = known.get(name) ?? new LogView();
    known.set(name, view);
    await view.update(join(path, 'log.jsonl'), facts.size).catch(() => undefined);
    return {
      name,
      ...(await told(path)),
      records: view.list,
      generation: view.generation,
      folder: path,
      changed: facts.mtimeMs,
    };
  };
  const lookAll = async (): Promise<RunView[]> => {
    const names = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
    const found: (RunView | null)[] = [];
    // One after the other: each may be large.
    for (const name of [...names.sort(), '.']) found.push(await look(name));
    return found.filter((view) => view !== null);
  };
  // Whoever asks meanwhile waits for the same look: two at once would take each new record twice.
  let looking: Promise<RunView[]> | null = null;
  return () => {
    looking ??= lookAll().finally(() => {
      looking = null;
    });
    return looking;
  };
}
