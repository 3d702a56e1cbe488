import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Host } from '../../core/index.js';
import { type EventContent, eventRecord, type SummaryValue } from '../persist/formats/event-file.js';
import { isDue } from './logs/cadence.js';
import { NewPictures } from './logs/new-pictures.js';
import { nextFreeName } from './logs/next-name.js';
import { type OpenLog, openLog } from './logs/open-log.js';

export interface TensorBoardOptions {
  /** Every so many steps. */
  readonly every?: number;
  /** Shown as a table under TEXT. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** A folder whose grid*.png are shown as they come. */
  readonly pictures?: string;
}

/** An event file's path as TensorBoard knows them, with a number behind it where this process made one in the same second. */
function eventPath(folder: string, seconds: number, runId: string): string {
  const time = String(Math.floor(seconds)).padStart(10, '0');
  const begin = join(folder, `events.out.tfevents.${time}.${hostname()}.${process.pid}.${encodeURIComponent(runId)}`);
  let number = 0;
  while (existsSync(`${begin}.${number}`)) number++;
  return `${begin}.${number}`;
}

/**
 * Moves event files of other runs into a folder beside theirs, the next free one of the kind tensorboard-1: TensorBoard takes all files of one
 * folder for one run.
 */
async function moveOthers(folder: string, runId: string): Promise<void> {
  const others = (await readdir(folder).catch(() => [])).filter(
    (name) => name.includes('.tfevents.') && !name.includes(`.${encodeURIComponent(runId)}.`),
  );
  if (others.length === 0) return;
  const beside = await nextFreeName(folder);
  await mkdir(beside);
  for (const name of others) await rename(join(folder, name), join(beside, name));
}

/**
 * Writes TensorBoard's event files: every number of the log, pictures, and the options as text. A resumed run writes another file, which
 * begins by taking back the steps that are made again; event files of another run are moved beside, into a folder like tensorboard-1. The run's id
 * is in the files' names and among the options. Needs Node.
 */
export const tensorboard = (folder: string, { every = 10, options = {}, pictures }: TensorBoardOptions = {}) => {
  let file: OpenLog | null = null;
  const grids = pictures === undefined ? null : new NewPictures(pictures);
  const add = async (step: number, content: EventContent) => file?.append(eventRecord(Date.now() / 1000, step, content));
  const show = async (step: number) => {
    if (!grids || !file) return;
    for (const { path, see } of await grids.list()) {
      const png = new Uint8Array(await readFile(path));
      // Still being written, or cut off: a picture has its size in its first 24 bytes.
      if (png.length < 24) continue;
      const view = new DataView(png.buffer, png.byteOffset);
      see();
      await add(step, { values: [{ tag: 'samples', png, width: view.getUint32(16), height: view.getUint32(20) }] });
    }
  };
  return {
    name: 'tensorboard',
    metrics: [],
    after: ['samples'],
    async apply({ hooks, isFirstRank, startStep, runId, wrote, warn }: Host) {
      // An earlier run's, or shown already before this one was resumed.
      await grids?.skip();
      let last = 0;
      hooks.onStart.tapPromise(async () => {
        if (!isFirstRank()) return;
        wrote(folder);
        const resumedAt = startStep();
        const seconds = Date.now() / 1000;
        last = resumedAt;
        file = await openLog('tensorboard', eventPath(folder, seconds, runId()), 'ax', {
          tell: warn,
          ready: () => moveOthers(folder, runId()),
        });
        await add(0, { fileVersion: 'brain.Event:2' });
        // Readers drop what other files say of this step and later ones.
        if (resumedAt > 0) await add(resumedAt + 1, { sessionStart: true });
        const rows = Object.entries({ ...options, run: runId() }).map(([name, value]) => `| ${name} | ${JSON.stringify(value)} |`);
        await add(resumedAt, { values: [{ tag: 'options', text: ['| option | value |', '| --- | --- |', ...rows].join('\n') }] });
        await show(resumedAt);
      });
      hooks.shouldLog.tap((position) => (isFirstRank() && isDue(position, every) ? true : undefined));
      hooks.onRecord.tapPromise(async (record) => {
        last = Number(record.step);
        const values = Object.entries(record)
          .filter(([name, value]) => name !== 'step' && typeof value === 'number')
          .map(([tag, scalar]): SummaryValue => ({ tag, scalar: scalar as number }));
        await add(last, { values });
      });
      hooks.onEvaluate.tapPromise(async (metrics, step) => {
        await show(step + 1);
        return metrics;
      });
      // What others drew when the run ended is there by then.
      hooks.onDispose.tapPromise(() => show(last));
    },
    async dispose() {
      await file?.close();
      file = null;
    },
  };
};
