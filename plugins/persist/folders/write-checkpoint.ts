import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { attachLater, fail, messageOf, type Snapshot, SteploomError } from '../../../core/index.js';
import { writeFolderAtomically } from '../formats/atomic-folder.js';
import { writeSnapshot } from '../formats/snapshot-files.js';
import { ruinedAmong } from '../weights/finite.js';
import { isSnapshotFolder, stepsOfRun } from './snapshot-folders.js';

/**
 * Writes a snapshot as checkpoint-<step> of a folder, on this rank. Where that cannot be written (a full disk, say), it is put among the temporary
 * files. Returns where it stands, with the error that says why it is not in its place. Throws NON_FINITE for weights that cannot be trained on,
 * and FILE_UNWRITABLE where it is nowhere.
 */
export async function writeCheckpoint(into: string, snapshot: Snapshot, rank: number): Promise<{ path: string; error?: SteploomError }> {
  await refuseRuined(snapshot, into);
  const path = join(into, `checkpoint-${snapshot.step}`);
  // This run's own, which came to the same step before it was resumed, gives way. Another rank may be writing the same.
  const fill = async (to: string) =>
    writeFolderAtomically(to, (files) => writeSnapshot(files, snapshot), {
      replace: await isSnapshotFolder(to),
      ...(rank === 0 ? {} : { stage: `rank-${rank}` }),
    });
  try {
    await fill(path);
    return { path };
  } catch (error) {
    if (rank > 0 && (await isSnapshotFolder(path))) return { path };
    const other = await elsewhere(snapshot.step, fill).catch((second) => {
      throw attachLater(error, second);
    });
    const what = `${error instanceof SteploomError ? error.problems[0].what : messageOf(error)}; the checkpoint was written to ${other}`;
    const fix = 'Free space, and resume from that folder.';
    return { path: other, error: new SteploomError({ code: 'FILE_UNWRITABLE', plugin: 'checkpoint', what, fix }, { cause: error }) };
  }
}

/** Keeps weights that cannot be trained on from taking the place of good ones. */
async function refuseRuined({ step, parameters, runId }: Snapshot, into: string): Promise<void> {
  const ruined = ruinedAmong(parameters);
  if (!ruined) return;
  const [last] = await stepsOfRun(into, runId ?? '');
  fail(
    'NON_FINITE',
    'checkpoint',
    `after step ${step} ${ruined}: no checkpoint was made of them`,
    last === undefined
      ? 'Train again with a lower learning rate.'
      : `Go on from ${join(into, `checkpoint-${last}`)} with a lower learning rate.`,
  );
}

/** Fills a folder among the temporary files, which is nobody else's, whatever its neighbours are. */
async function elsewhere(step: number, fill: (to: string) => Promise<void>): Promise<string> {
  const other = join(await mkdtemp(join(tmpdir(), 'steploom-')), `checkpoint-${step}`);
  await fill(other);
  return other;
}
