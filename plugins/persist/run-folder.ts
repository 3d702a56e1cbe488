import { realpath } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, relative, resolve, sep } from 'node:path';
import { COLLECTIVE, fail, type Host, messageOf } from '../../core/index.js';
import { watchEnding } from './folders/ending.js';
import { entriesOfRun, isRunsName, LOCK, moveAside } from './folders/former-run.js';
import { writeAtomically } from './formats/atomic-file.js';
import { type Holder, holderOf, takeLock } from './formats/lock.js';
import { RUN_FILE, type RunFacts, runFactsOf } from './formats/run-file.js';

const heldBy = (folder: string, { pid, host }: Holder) => `the run of process ${pid} on ${host} writes into ${folder}`;
const fixFor = (folder: string, { host }: Holder) =>
  `Give another output folder, or wait until that run has ended${host === hostname() ? '' : `; if it is dead, remove ${join(folder, LOCK)}`}.`;

/** A path without links; as it is where nothing is there. */
const realPath = (path: string): Promise<string> => realpath(path).catch(() => resolve(path));

/**
 * Makes a folder one run's: a second run that would write into it meanwhile is refused; what an earlier run left there is moved aside, all of it
 * under former-runs/ and the time, and that is said; a resumed run goes on with what is its own. What the run `reads` (a base model, images) may
 * not lie among what would be moved or written over. run.json has its `options`, the `prompts` of its grids and its length, for who compares runs, and how it ended: done, stopped or failed, and
 * none of these of a run that was killed. To be the first of the plugins that write. Needs Node.
 */
export const runFolder = (
  folder: string,
  {
    reads = [],
    options,
    prompts,
  }: {
    readonly reads?: readonly string[];
    readonly options?: Readonly<Record<string, unknown>>;
    readonly prompts?: readonly string[];
  } = {},
) => {
  let lock: { release(): Promise<void> } | null = null;
  /** Writes how the run has ended, after what other plugins have written. */
  let close = async (): Promise<void> => undefined;
  return {
    name: 'run-folder',
    after: [COLLECTIVE],
    apply(host: Host) {
      const { hooks, isFirstRank, runId, warn } = host;
      const ending = watchEnding(host);
      hooks.validate.tapPromise(async (problems) => {
        const holder = isFirstRank() ? await holderOf(join(folder, LOCK)) : null;
        for (const path of isFirstRank() ? reads : []) {
          const [first] = relative(await realPath(folder), await realPath(path)).split(sep);
          if (isRunsName(first))
            problems.add(
              'OPTION_INVALID',
              'run-folder',
              `${path} would be moved aside or written over: it is among what runs write into ${folder}`,
              'Give another outputDir, or move it.',
            );
        }
        if (holder) problems.add('FOLDER_LOCKED', 'run-folder', heldBy(folder, holder), fixFor(folder, holder));
      });
      hooks.onStart.tapPromise(async ({ steps, epochs, stepsPerEpoch }) => {
        if (!isFirstRank()) return;
        const started = performance.now();
        try {
          const taken = await takeLock(join(folder, LOCK));
          if ('holder' in taken) return fail('FOLDER_LOCKED', 'run-folder', heldBy(folder, taken.holder), fixFor(folder, taken.holder));
          lock = taken;
          const id = runId();
          const former = await runFactsOf(folder);
          const isSame = former?.id === id;
          if (!isSame) {
            const entries = await entriesOfRun(folder);
            if (entries.length > 0) warn(`${folder} holds an earlier run, which was moved to ${await moveAside(folder, entries)}`);
          }
          const begun = (isSame && former.begun) || new Date().toISOString();
          const facts: RunFacts = {
            id,
            begun,
            ...(options ? { options } : {}),
            ...(prompts ? { prompts } : {}),
            steps,
            epochs,
            stepsPerEpoch,
          };
          const write = (more: Partial<RunFacts>) => writeAtomically(join(folder, RUN_FILE), `${JSON.stringify({ ...facts, ...more })}\n`);
          await write({});
          close = async () => {
            const ended = ending();
            const seconds = Number(((performance.now() - started) / 1000).toFixed(3));
            // Without it the run looks as though it had died; what it has learnt is saved all the same.
            if (ended) await write({ ...ended, seconds }).catch((error) => warn(messageOf(error)));
          };
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === undefined || 'problems' in (error as object)) throw error;
          fail(
            'FILE_UNWRITABLE',
            'run-folder',
            `${folder}: ${messageOf(error)}`,
            'Check the path, its permissions and the space left.',
            error,
          );
        }
      });
    },
    async dispose() {
      await close();
      await lock?.release();
      lock = null;
    },
  };
};
