import { mkdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Host, messageOf } from '../../core/index.js';
import { rankFromEnvironment } from '../../plugins/distributed/mpi/environment.js';
import type { OptionValues, optimizerOptions, runOptions } from './options.js';

export const FAST_DEV_RUN = 'fast-dev-run';

/** What is asked of options here: of all presets, and of some. */
interface Amounts
  extends Pick<
    OptionValues<typeof runOptions & typeof optimizerOptions>,
    'fastDevRun' | 'limitItems' | 'outputDir' | 'splitBatches' | 'gradientAccumulationSteps' | 'maxTrainSteps' | 'lrWarmupSteps'
  > {
  readonly trainBatchSize: number;
  readonly numTrainEpochs?: number;
  readonly heldOut?: number;
  readonly numInferenceSteps?: number;
  readonly numClassImages?: number;
  readonly classDataDir?: string | undefined;
  readonly validationSteps?: number | undefined;
}

/** With fastDevRun, options as they are but for how much is done: one step, and one of each thing that belongs to a run, in a folder that is deleted afterwards. */
export function devRun<O extends Amounts>(o: O): O {
  if (!o.fastDevRun) return o;
  const ranks = o.splitBatches ? 1 : (rankFromEnvironment()?.worldSize ?? 1);
  const items = o.trainBatchSize * o.gradientAccumulationSteps * ranks;
  const outputDir = join(o.outputDir, `${FAST_DEV_RUN}-${process.pid}`);
  return {
    ...o,
    outputDir,
    limitItems: Math.min(items, o.limitItems ?? items),
    ...(o.numTrainEpochs === undefined ? {} : { numTrainEpochs: 1 }),
    loggingSteps: 1,
    ...(o.maxTrainSteps === undefined ? {} : { maxTrainSteps: 1 }),
    ...(o.lrWarmupSteps === undefined ? {} : { lrWarmupSteps: 0 }),
    // A limited data set is none of a run that was saved.
    resumeFromCheckpoint: undefined,
    resumeOverride: undefined,
    ...(o.heldOut === undefined ? {} : { heldOut: 1 }),
    ...(o.numInferenceSteps === undefined ? {} : { numInferenceSteps: 1 }),
    ...(o.numClassImages === undefined ? {} : { numClassImages: Math.min(items, o.numClassImages) }),
    ...(o.classDataDir === undefined ? {} : { classDataDir: join(outputDir, 'class-pictures') }),
    ...(o.validationSteps === undefined ? {} : { validationSteps: 1 }),
  };
}

/** The smallest of the numbers that are given, as an option of image folders. */
export function fewest(...limits: readonly (number | undefined)[]): { readonly maxSamples?: number } {
  const given = limits.filter((limit) => limit !== undefined);
  return given.length > 0 ? { maxSamples: Math.min(...given) } : {};
}

/** What is held out is limited to one batch in such a run. */
export const heldLimit = ({ fastDevRun, trainBatchSize }: Pick<Amounts, 'fastDevRun' | 'trainBatchSize'>) =>
  fewest(fastDevRun ? trainBatchSize : undefined);

/** Makes a folder before anything writes into it, and deletes it, with those above it that were made for it, when the run is over: to be disposed last, it stands first. Needs Node. */
export const fastDevRun = (into: string) => {
  const folder = resolve(into);
  let made: string | undefined;
  return {
    name: FAST_DEV_RUN,
    apply({ hooks }: Host) {
      hooks.validate.tapPromise(async (problems) => {
        try {
          made = await mkdir(folder, { recursive: true });
        } catch (error) {
          problems.add(
            'FILE_UNWRITABLE',
            FAST_DEV_RUN,
            `${into}: ${messageOf(error)}`,
            'Check the path, its permissions and the space left.',
          );
        }
      });
    },
    async dispose() {
      await rm(folder, { recursive: true, force: true });
      // Another process may still have its own there.
      for (let above = dirname(folder); made !== undefined && above.length >= made.length; above = dirname(above))
        await rmdir(above).catch(() => undefined);
    },
  };
};
