import { readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  betterThan,
  CLOCK,
  COLLECTIVE,
  checkWatched,
  fail,
  type Host,
  type Metrics,
  messageOf,
  type Snapshot,
  STORE,
  SteploomError,
} from '../../core/index.js';
import { writeAtomically } from './formats/atomic-file.js';
import { removeUnfinished, writeFolderAtomically } from './formats/atomic-folder.js';
import { folder } from './formats/folder.js';
import { CHECKSUMS, readSnapshot, writeSnapshot } from './formats/snapshot-files.js';

export interface CheckpointOptions {
  /** Where the folders checkpoint-<step> stand. */
  readonly into: string;
  /** Save every so many steps. */
  readonly every?: number;
  /** Save when so many seconds have passed. */
  readonly everySeconds?: number;
  /** Save when the run ends, also when it was stopped. */
  readonly atEnd?: boolean;
  /** Save when the run is stopped before its end: by Ctrl-C, SIGTERM or a plugin. */
  readonly onStop?: boolean;
  /** Keep only the newest so many; folders that are not ours are never touched. */
  readonly totalLimit?: number;
  /** Keep the one with the least (or largest) value of a metric as well; one is saved whenever an evaluation betters it. */
  readonly best?: { readonly metric: string; readonly mode?: 'min' | 'max' };
  /** Continue from this folder; 'latest' takes the newest below `into` that is whole, if there is one. */
  readonly resume?: 'latest' | string;
  /** Differences from the run that was saved which are meant: seed, items, batchSize, windowLength, worldSize, content. */
  readonly overrides?: readonly string[];
}

const BEST = 'best.json';

interface Best {
  readonly step: number;
  readonly metric: string;
  readonly value: number;
}

/**
 * Snapshots as folders, and resuming from them. A folder has its name only when all of it is on disk, and carries checksums; one
 * that is damaged all the same is passed over with a warning. Needs Node.
 */
export const checkpoint = (options: CheckpointOptions) => {
  const { into, every, everySeconds, atEnd = false, onStop = false, totalLimit, best, resume, overrides = [] } = options;
  let warn: (what: string) => void = () => undefined;
  let champion: Best | null = null;
  /** The best value at which a save was asked for already. */
  let wanted: number | null = null;
  let saved = -1;
  const save = async (snapshot: Snapshot, metrics: Metrics) => {
    if (snapshot.step !== saved) {
      const path = join(into, `checkpoint-${snapshot.step}`);
      await refuseRuined(snapshot, into);
      // One of an earlier run that came to the same step gives way.
      const write = async (to: string) =>
        writeFolderAtomically(to, (files) => writeSnapshot(files, snapshot), { replace: await isOurs(to) });
      saved = snapshot.step;
      await write(path).catch((error) => elsewhere(error, snapshot.step, write));
    }
    const value = best && metrics[best.metric];
    if (best && betterThan(value, champion?.value ?? null, best)) {
      champion = { step: snapshot.step, metric: best.metric, value };
      await writeAtomically(join(into, BEST), `${JSON.stringify(champion)}\n`);
    }
    if (totalLimit === undefined) return;
    const steps = (await finishedSteps(into)).sort((a, b) => b - a);
    for (const step of steps.slice(totalLimit))
      if (step !== champion?.step) await rm(join(into, `checkpoint-${step}`), { recursive: true, force: true });
  };

  return {
    name: 'checkpoint',
    fills: STORE,
    after: [COLLECTIVE, 'distributed'],
    overrides,
    apply(host: Host) {
      const { hooks, resolve } = host;
      warn = host.warn;
      let last = 0;
      hooks.validate.tap((problems) => {
        const check = problems.options('checkpoint');
        if (every !== undefined) check.whole('every', every, 1);
        if (totalLimit !== undefined) check.whole('totalLimit', totalLimit, 1);
        if (everySeconds !== undefined) check.positive('everySeconds', everySeconds);
        if (best) checkWatched(problems, 'checkpoint', host.metrics(), best.metric);
      });
      hooks.onStart.tapPromise(async () => {
        last = resolve(CLOCK).now();
        if (!host.isFirstRank()) return;
        await removeUnfinished(into);
        if (best) champion = await readBest(into, best.metric);
        wanted = champion?.value ?? null;
      });
      hooks.onRequest.tap((requests, { step, last: isLast }, metrics) => {
        let due = (every !== undefined && (step + 1) % every === 0) || (atEnd && isLast);
        // The clock is this rank's; the request is everyone's, through the sum over ranks.
        const now = resolve(CLOCK).now();
        if (everySeconds !== undefined && now - last >= 1000 * everySeconds) due = true;
        const value = best && metrics[best.metric];
        if (best && host.isFirstRank() && betterThan(value, wanted, best)) {
          wanted = value;
          due = true;
        }
        if (due) last = now;
        return due ? { ...requests, checkpoint: 1 } : requests;
      });
      // Whoever asked for a stop, on whichever rank: behind the all-reduce all ranks know of it.
      hooks.onSync.tap((sum) =>
        (atEnd || onStop) && sum.requests.stop > 0 ? { ...sum, requests: { ...sum.requests, checkpoint: 1 } } : sum,
      );
      hooks.onCheckpoint.tapPromise(save);
    },
    async read(): Promise<Snapshot | null> {
      if (resume === undefined) return null;
      if (resume !== 'latest') return readSnapshot(folder(resume));
      for (const step of (await steps(into)).sort((a, b) => b - a)) {
        const path = join(into, `checkpoint-${step}`);
        try {
          return await readSnapshot(folder(path));
        } catch (error) {
          if (!(error instanceof SteploomError)) throw error;
          warn(`${path} is passed over: ${error.problems[0].what}`);
        }
      }
      return null;
    },
  };
};

/** Keeps weights that cannot be trained on from taking the place of good ones. */
async function refuseRuined({ step, parameters }: Snapshot, into: string): Promise<void> {
  const ruined = Object.entries(parameters).find(
    ([, { dtype, data }]) =>
      dtype === 'float32' && !Number.isFinite((data as Float32Array).reduce((sum, x) => sum + Math.fround(x * x), 0)),
  );
  if (!ruined) return;
  const last = (await finishedSteps(into)).sort((a, b) => b - a)[0];
  fail(
    'NON_FINITE',
    'checkpoint',
    `after step ${step} the weights of ${ruined[0]} are not finite, or so large that their squares are not: no checkpoint was made of them`,
    last === undefined
      ? 'Train again with a lower learning rate.'
      : `Go on from ${join(into, `checkpoint-${last}`)} with a lower learning rate.`,
  );
}

/** Where a checkpoint's place cannot be written (a full disk, say): puts it among the temporary files, and says so in the error. */
async function elsewhere(error: unknown, step: number, write: (to: string) => Promise<void>): Promise<never> {
  const other = join(tmpdir(), `steploom-${process.pid}`, `checkpoint-${step}`);
  const kept = await write(other).then(
    () => true,
    () => false,
  );
  if (!kept) throw error;
  const what = error instanceof SteploomError ? error.problems[0].what : messageOf(error);
  return fail(
    'FILE_UNWRITABLE',
    'checkpoint',
    `${what}; the checkpoint was written to ${other}`,
    'Free space, and resume from that folder.',
    error,
  );
}

/** The steps of folders that have a checkpoint's name. */
async function steps(into: string): Promise<number[]> {
  let names: string[];
  try {
    names = await readdir(into);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    return fail('FILE_UNREADABLE', 'checkpoint', `${into}: ${messageOf(error)}`, 'Check the path and its permissions.', error);
  }
  return names.flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? []).map(Number);
}

/** Whether a folder holds a snapshot of ours: one of that name alone may be anyone's. */
const isOurs = async (path: string): Promise<boolean> =>
  readFile(join(path, CHECKSUMS)).then(
    () => true,
    () => false,
  );

/** The steps of folders that hold a snapshot of ours. */
const finishedSteps = async (into: string): Promise<number[]> => {
  const found: number[] = [];
  for (const step of await steps(into)) if (await isOurs(join(into, `checkpoint-${step}`))) found.push(step);
  return found;
};

async function readBest(into: string, metric: string): Promise<Best | null> {
  try {
    const found = JSON.parse(await readFile(join(into, BEST), 'utf8')) as Best;
    return found.metric === metric && (await isOurs(join(into, `checkpoint-${found.step}`))) ? found : null;
  } catch {
    return null;
  }
}
