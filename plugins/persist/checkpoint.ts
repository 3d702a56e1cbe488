import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  betterThan,
  CLOCK,
  COLLECTIVE,
  checkWatched,
  fail,
  type Host,
  type Metrics,
  type Snapshot,
  STORE,
  SteploomError,
} from '../../core/index.js';
import { skippedSteps } from '../gradients/guard/skipped-steps.js';
import { moveAside } from './folders/former-run.js';
import {
  candidates,
  foreignSteps,
  isSnapshotFolder,
  lastProven,
  stepsOfRun,
  stepsPast,
  tidyCheckpoints,
} from './folders/snapshot-folders.js';
import { writeCheckpoint } from './folders/write-checkpoint.js';
import { guarded, writeAtomically } from './formats/atomic-file.js';
import { removeFolderAtomically } from './formats/atomic-folder.js';
import { folder } from './formats/folder.js';
import { readSnapshot } from './formats/snapshot-files.js';

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
  /**
   * Keep only the newest so many; folders that are not ours are never touched. While steps are being skipped, the last from which training has
   * gone on is kept as well: newer ones may be of weights that can no longer be trained.
   */
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
  readonly runId: string;
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
  /** The newest that this run has saved. */
  let saved: { readonly step: number; readonly path: string } | null = null;
  /** What kept the newest from being saved: asked again for the same step, the answer is the same. */
  let refused: { readonly step: number; readonly error: unknown } | null = null;
  let rank = 0;
  const save = async (snapshot: Snapshot, metrics: Metrics) => {
    const { step } = snapshot;
    if (refused?.step === step) throw refused.error;
    if (saved?.step !== step)
      try {
        const { path, error } = await writeCheckpoint(into, snapshot, rank);
        saved = { step, path };
        if (error) throw error;
      } catch (error) {
        refused = { step, error };
        throw error;
      }
    // A rank that saves what it has, since it cannot go on, has nothing else to do.
    if (rank > 0) return;
    const value = best && metrics[best.metric];
    if (best && betterThan(value, champion?.value ?? null, best)) {
      champion = { step, metric: best.metric, value, runId: snapshot.runId ?? '' };
      await writeAtomically(join(into, BEST), `${JSON.stringify(champion)}\n`);
    }
    if (totalLimit === undefined) return;
    const steps = await stepsOfRun(into, snapshot.runId ?? '');
    const proven = skippedSteps(snapshot.plugins).inRow > 0 ? await lastProven(into, steps) : undefined;
    for (const old of steps.slice(totalLimit))
      if (old !== champion?.step && old !== proven) await removeFolderAtomically(join(into, `checkpoint-${old}`));
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
      // The first hook that knows the plan and reports.
      hooks.prepareModel.tapPromise(async (model, problems) => {
        const foreign = host.isFirstRank() ? (await foreignSteps(into)).filter((step) => step <= host.plan().steps) : [];
        if (foreign.length > 0)
          problems.add(
            'FOLDER_FOREIGN',
            'checkpoint',
            `${foreign.map((step) => join(into, `checkpoint-${step}`)).join(', ')}: not steploom's, and in the way of checkpoints of this run`,
            'Give another output folder, or move it.',
          );
        return model;
      });
      hooks.onStart.tapPromise(async () => {
        last = resolve(CLOCK).now();
        ({ rank } = resolve(COLLECTIVE));
        if (rank > 0) return;
        await tidyCheckpoints(into);
        await clearWay(into, host.startStep(), warn);
        if (best) champion = await readBest(into, best.metric, host.runId());
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
      hooks.onEnd.tap(() => {
        if (saved) host.wrote(saved.path);
      });
    },
    kept: () => saved?.path ?? null,
    async read(): Promise<Snapshot | null> {
      if (resume === undefined) return null;
      if (resume !== 'latest') {
        // As diffusers names it, below the output folder.
        const inside = join(into, resume);
        const below =
          /^checkpoint-\d+\/?$/.test(resume) && ((await isSnapshotFolder(inside)) || !(await isSnapshotFolder(resume))) ? inside : resume;
        if (!(await isSnapshotFolder(below)))
          fail(
            'BAD_SNAPSHOT',
            'checkpoint',
            `there is no checkpoint at ${below}`,
            'Give the folder of a checkpoint, its name below the output folder, or latest.',
          );
        return readSnapshot(folder(below));
      }
      for (const { path } of await candidates(into)) {
        try {
          return await readSnapshot(folder(path));
        } catch (error) {
          if (!(error instanceof SteploomError)) throw error;
          warn(`${path} is passed over: ${error.problems[0].what}`);
        }
      }
      warn(`there is no checkpoint in ${into} to go on from: the run begins anew`);
      return null;
    },
  };
};

/**
 * Moves checkpoints past the step that a run begins at aside: of a run that was here before, or of this one before it went back. They would
 * count as the newest, so that a limit deleted what is new, and `latest` went on from them.
 */
async function clearWay(into: string, startStep: number, warn: (what: string) => void): Promise<void> {
  const past = (await stepsPast(into, startStep)).map((step) => `checkpoint-${step}`);
  if (past.length === 0) return;
  await guarded(into, async () => {
    const place = await moveAside(into, past);
    warn(`${past.join(', ')} of ${into}, past step ${startStep} at which this run begins, moved to ${place}`);
  });
}

async function readBest(into: string, metric: string, runId: string): Promise<Best | null> {
  try {
    const found = JSON.parse(await readFile(join(into, BEST), 'utf8')) as Best;
    const isThere = await isSnapshotFolder(join(into, `checkpoint-${found.step}`));
    return found.metric === metric && found.runId === runId && isThere ? found : null;
  } catch {
    return null;
  }
}
