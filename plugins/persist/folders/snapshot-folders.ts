import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fail, messageOf, type Snapshot } from '../../../core/index.js';
import { skippedSteps } from '../../gradients/guard/skipped-steps.js';
import { replacedName } from '../formats/atomic-folder.js';
import { CHECKSUMS, STATE_FILE } from '../formats/snapshot-files.js';

/** Whether a folder holds a snapshot of ours: one of that name alone may be anyone's. */
export const isSnapshotFolder = async (path: string): Promise<boolean> =>
  readFile(join(path, CHECKSUMS)).then(
    () => true,
    () => false,
  );

/** What a snapshot says of itself, beside its tensors; null where it cannot be read. */
async function stateOf(path: string): Promise<Pick<Snapshot, 'runId' | 'step' | 'plugins'> | null> {
  try {
    return JSON.parse(await readFile(join(path, STATE_FILE), 'utf8'));
  } catch {
    return null;
  }
}

/** A folder that may hold a checkpoint of ours, and its step. */
export interface Candidate {
  readonly step: number;
  readonly path: string;
}

/** Where a resumed run looks, the newest first: checkpoints, and what a kill between the two renames of a replaced one left. Changes nothing. */
export async function candidates(into: string): Promise<Candidate[]> {
  const found: Candidate[] = [];
  for (const step of await checkpointSteps(into)) found.push({ step, path: join(into, `checkpoint-${step}`) });
  for (const name of await readdir(into).catch(() => [])) {
    const replaced = /^\.(checkpoint-(\d+))\.old\.unfinished$/.exec(name);
    if (replaced && !found.some(({ path }) => path === join(into, replaced[1])))
      found.push({ step: Number(replaced[2]), path: join(into, name) });
  }
  return found.sort((a, b) => b.step - a.step);
}

/** Checkpoints of ours past a step, the newest first: to a run that begins there they are another's, or its own from before it was taken back. */
export async function stepsPast(into: string, step: number): Promise<number[]> {
  const found: number[] = [];
  for (const one of await checkpointSteps(into))
    if (one > step && (await isSnapshotFolder(join(into, `checkpoint-${one}`)))) found.push(one);
  return found;
}

/** The steps of folders that have a checkpoint's name, the newest first. */
export async function checkpointSteps(into: string): Promise<number[]> {
  let names: string[];
  try {
    names = await readdir(into);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    return fail('FILE_UNREADABLE', 'checkpoint', `${into}: ${messageOf(error)}`, 'Check the path and its permissions.', error);
  }
  return names
    .flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a);
}

/** Those that hold a snapshot of a run, the newest first. */
export async function stepsOfRun(into: string, runId: string): Promise<number[]> {
  const found: number[] = [];
  for (const step of await checkpointSteps(into)) if ((await stateOf(join(into, `checkpoint-${step}`)))?.runId === runId) found.push(step);
  return found;
}

/**
 * Of a run's checkpoints, the newest first, the first from which a step was made that was not skipped: weights that can be trained on. Undefined
 * where there is none.
 */
export async function lastProven(into: string, steps: readonly number[]): Promise<number | undefined> {
  let most: number | undefined;
  for (const step of steps) {
    const state = await stateOf(join(into, `checkpoint-${step}`));
    if (!state) continue;
    const applied = state.step - skippedSteps(state.plugins).skipped;
    most ??= applied;
    if (applied < most) return step;
  }
  return undefined;
}

/** Those that bear a checkpoint's name and hold none of ours: diffusers', say. */
export async function foreignSteps(into: string): Promise<number[]> {
  const found: number[] = [];
  for (const step of await checkpointSteps(into)) if (!(await isSnapshotFolder(join(into, `checkpoint-${step}`)))) found.push(step);
  return found;
}

/** Brings back what a kill between the two renames of a replaced checkpoint left under another name, and removes what was never finished or never wholly removed. */
export async function tidyCheckpoints(into: string): Promise<void> {
  const names: readonly string[] = await readdir(into).catch(() => []);
  for (const name of names) {
    const [, checkpoint] = /^\.(checkpoint-\d+)(\.old|\.removed|\.rank-\d+)?\.unfinished$/.exec(name) ?? [];
    if (!checkpoint) continue;
    const path = join(into, name);
    if (name === replacedName(checkpoint) && !names.includes(checkpoint)) await rename(path, join(into, checkpoint));
    else await rm(path, { recursive: true, force: true });
  }
}
