import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { kohyaFile } from '../formats/lora/kohya.js';
import { runName } from './run-name.js';
import { isSnapshotFolder } from './snapshot-folders.js';

/** Where what earlier runs left is moved. */
const FORMER_RUNS = 'former-runs';

/** The file that is there while a run goes on. */
export const LOCK = 'run.lock';

/** What runs write, beside checkpoints. Whatever else stands in a folder is somebody's and stays where it is. */
const WRITTEN =
  /^(run\.json|best\.json|log(-\d+)?\.(jsonl|csv)|tensorboard(-\d+)?|grid-.*\.png|plot\.png|figures\.json|model-card\.md|averaged|model(-averaged)?|pytorch_lora_weights.*\.safetensors)$/;

const CHECKPOINT = /^checkpoint-\d+$/;

/** Whether a run that writes into a folder may move this name below it aside, or write over it. */
export const isRunsName = (name: string): boolean => WRITTEN.test(name) || CHECKPOINT.test(name);

/** What of a folder's entries a run has written. */
export async function entriesOfRun(folder: string): Promise<string[]> {
  const found: string[] = [];
  const kohya = kohyaFile(runName(folder));
  for (const name of await readdir(folder).catch(() => []))
    if (WRITTEN.test(name) || name === kohya || (CHECKPOINT.test(name) && (await isSnapshotFolder(join(folder, name))))) found.push(name);
  return found;
}

/** Moves entries of a folder aside, all of them under one name. Returns where. */
export async function moveAside(folder: string, entries: readonly string[]): Promise<string> {
  const stamp = new Date()
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replaceAll(':', '-');
  const parent = join(folder, FORMER_RUNS);
  await mkdir(parent, { recursive: true });
  let into = join(parent, stamp);
  // mkdir says whether the name was free.
  for (let n = 1; ; n++) {
    try {
      await mkdir(into);
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      into = join(parent, `${stamp}-${n}`);
    }
  }
  for (const name of entries) await rename(join(folder, name), join(into, name));
  return into;
}
