import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { COLLECTIVE, fail, type Host, type Snapshot, STORE } from '../../core/index.js';
import { folder } from './folder.js';
import { readSnapshot, writeSnapshot } from './snapshot-files.js';

export interface CheckpointOptions {
  /** Where the folders checkpoint-<step> stand. */
  readonly into: string;
  /** Save every so many steps. */
  readonly every?: number;
  /** Save when the run ends, also when it was stopped. */
  readonly atEnd?: boolean;
  /** Continue from this folder; 'latest' takes the newest below `into`, if there is one. */
  readonly resume?: 'latest' | string;
}

/** Snapshots as folders, and resuming from them. Needs Node. */
export const checkpoint = ({ into, every, atEnd = false, resume }: CheckpointOptions) => {
  const save = (snapshot: Snapshot) => writeSnapshot(folder(join(into, `checkpoint-${snapshot.step}`)), snapshot);
  return {
    name: 'checkpoint',
    fills: STORE,
    after: [COLLECTIVE, 'distributed'],
    apply({ hooks }: Host) {
      hooks.validate.tap('checkpoint', (problems) => {
        if (every !== undefined && !(Number.isInteger(every) && every > 0))
          problems.add('OPTION_INVALID', 'checkpoint', `every is ${every}`, 'Give a whole number above 0.');
        return undefined;
      });
      hooks.onRequest.tap('checkpoint', (requests, { step, last }) => {
        const due = (every !== undefined && (step + 1) % every === 0) || (atEnd && last);
        return due ? { ...requests, checkpoint: 1 } : requests;
      });
      // Whoever asked for a stop, on whichever rank: behind the all-reduce all ranks know of it.
      hooks.onSync.tap('checkpoint', (sum) =>
        atEnd && sum.requests.stop > 0 ? { ...sum, requests: { ...sum.requests, checkpoint: 1 } } : sum,
      );
      hooks.onCheckpoint.tapPromise('checkpoint', save);
    },
    async read(): Promise<Snapshot | null> {
      if (resume === undefined) return null;
      const path = resume === 'latest' ? await latest(into) : resume;
      return path === null ? null : readSnapshot(folder(path));
    },
  };
};

async function latest(into: string): Promise<string | null> {
  let names: string[];
  try {
    names = await readdir(into);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    return fail('FILE_UNREADABLE', 'checkpoint', `${into}: ${(error as Error).message}`, 'Check the path and its permissions.', error);
  }
  const steps = names.flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  return steps.length > 0 ? join(into, `checkpoint-${Math.max(...steps)}`) : null;
}
