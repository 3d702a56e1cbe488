import { realpath } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, relative, resolve, sep } from 'node:path';
import { COLLECTIVE, fail, type Host, messageOf } from '../../core/index.js';
import { entriesOfRun, isRunsName, LOCK, moveAside } from './folders/former-run.js';
import { writeAtomically } from './formats/atomic-file.js';
import { type Holder, holderOf, takeLock } from './formats/lock.js';
import { RUN_FILE, runOf } from './formats/run-file.js';

const heldBy = (folder: string, { pid, host }: Holder) => `the run of process ${pid} on ${host} writes into ${folder}`;
const fixFor = (folder: string, { host }: Holder) =>
  `Give another output folder, or wait until that run has ended${host === hostname() ? '' : `; if it is dead, remove ${join(folder, LOCK)}`}.`;

/** A path without links; as it is where nothing is there. */
const realPath = (path: string): Promise<string> => realpath(path).catch(() => resolve(path));

/**
 * Makes a folder one run's: a second run that would write into it meanwhile is refused; what an earlier run left there is moved aside, all of it
 * under former-runs/ and the time, and that is said; a resumed run goes on with what is its own. What the run `reads` (a base model, images) may
 * not lie among what would be moved or written over; its `options` and the `prompts` of its grids are kept in run.json, for who compares runs. To be the first of the plugins that write. Needs Node.
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
  return {
    name: 'run-folder',
    after: [COLLECTIVE],
    apply({ hooks, isFirstRank, runId, warn }: Host) {
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
      hooks.onStart.tapPromise(async () => {
        if (!isFirstRank()) return;
        try {
          const taken = await takeLock(join(folder, LOCK));
          if ('holder' in taken) return fail('FOLDER_LOCKED', 'run-folder', heldBy(folder, taken.holder), fixFor(folder, taken.holder));
          lock = taken;
          const id = runId();
          if ((await runOf(folder)) !== id) {
            const entries = await entriesOfRun(folder);
            if (entries.length > 0) warn(`${folder} holds an earlier run, which was moved to ${await moveAside(folder, entries)}`);
            await writeAtomically(join(folder, RUN_FILE), `${JSON.stringify({ id, begun: new Date().toISOString(), options, prompts })}\n`);
          }
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
      await lock?.release();
      lock = null;
    },
  };
};
