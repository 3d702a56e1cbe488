import { isAbsolute, join } from 'node:path';
import type { z } from 'zod';
import { type AnyPlugin, type Filling, fail, run } from '../../core/index.js';
import { device } from '../../plugins/devices/device.js';
import { distributed } from '../../plugins/distributed/distributed.js';
import { rankFromEnvironment } from '../../plugins/distributed/mpi/environment.js';
import { mpi } from '../../plugins/distributed/mpi.js';
import { accumulation } from '../../plugins/gradients/accumulation.js';
import { clipping } from '../../plugins/gradients/clipping.js';
import { lossScaling } from '../../plugins/gradients/loss-scaling.js';
import { nonFiniteGuard } from '../../plugins/gradients/non-finite-guard.js';
import { csv } from '../../plugins/observe/csv.js';
import { jsonl } from '../../plugins/observe/jsonl.js';
import { mlflowSettings } from '../../plugins/observe/mlflow/settings.js';
import { mlflow } from '../../plugins/observe/mlflow.js';
import { progress } from '../../plugins/observe/progress.js';
import { tensorboard } from '../../plugins/observe/tensorboard.js';
import { ui } from '../../plugins/observe/ui.js';
import { groups } from '../../plugins/optimizers/groups.js';
import { checkpoint } from '../../plugins/persist/checkpoint.js';
import { runName } from '../../plugins/persist/folders/run-name.js';
import { runFolder } from '../../plugins/persist/run-folder.js';
import { fastDevRun } from './fast-dev-run.js';
import { idleOptions } from './idle-options.js';
import { introduction } from './introduction.js';
import { notice } from './notice.js';
import { optimizerByName } from './optimizers.js';
import type { diffusionOptions, OptionValues, optimizerOptions, runOptions, steppedRunOptions } from './options.js';
import { packageVersion } from './package-root.js';
import { scheduleByName, warmsUp } from './schedules.js';
import { spokenOf } from './spoken-of.js';

/** The options that every preset for Node has, checked and with their defaults. */
export type CommonOptions = OptionValues<
  typeof steppedRunOptions & typeof optimizerOptions & Pick<typeof diffusionOptions, 'trainBatchSize' | 'mixedPrecision'>
> &
  Partial<Pick<OptionValues<typeof runOptions>, 'numTrainEpochs'>>;

/** The learning rate scaled by accumulation x batch x processes, where that is asked for. Computed from the base rate each time, so never twice. */
export const scaledLearningRate = (
  { learningRate, scaleLr, gradientAccumulationSteps, trainBatchSize }: CommonOptions,
  worldSize = 1,
): number => (scaleLr ? learningRate * gradientAccumulationSteps * trainBatchSize * worldSize : learningRate);

/** What may differ between ranks: places, and how each computes. */
const RANK_LOCAL = new Set([
  'reportTo',
  'ui',
  'uiPort',
  'uiHost',
  'outputDir',
  'loggingDir',
  'device',
  'threads',
  'deviceMemory',
  'quiet',
  'resumeFromCheckpoint',
  'trainDataDir',
  'instanceDataDir',
  'classDataDir',
  'sampleBatchSize',
  'datasetName',
  'pretrainedModelNameOrPath',
  'pretrainedVaeModelNameOrPath',
  'validationDataDir',
  'cacheDir',
  'timeout',
  'pushToHub',
  'hubModelId',
  'hubToken',
]);

/** What others may see of the options. */
const shown = ({ hubToken: _, ...o }: object & { readonly hubToken?: unknown }): Record<string, unknown> => o;

const sharedOptions = (o: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(o).filter(([name]) => !RANK_LOCAL.has(name)));

function optimizerOf(o: CommonOptions): Filling<'OPTIMIZER'> {
  if (o.use8bitAdam && !o.optimizer.startsWith('adamw'))
    fail('OPTION_INVALID', 'use8bitAdam', `use8bitAdam and the optimizer ${o.optimizer} exclude each other`, 'Give one of them.');
  return optimizerByName(o.use8bitAdam ? 'adamw8bit' : o.optimizer, { beta1: o.adamBeta1, beta2: o.adamBeta2, epsilon: o.adamEpsilon });
}

/** What some presets read. */
interface Reads {
  readonly pretrainedModelNameOrPath?: string | undefined;
  readonly pretrainedVaeModelNameOrPath?: string | undefined;
  readonly cacheDir?: string | undefined;
  readonly hubToken?: string | undefined;
  readonly resolution?: number | undefined;
  readonly trainDataDir?: string | undefined;
  readonly instanceDataDir?: string | undefined;
  readonly classDataDir?: string | undefined;
  readonly datasetName?: string | undefined;
  readonly validationDataDir?: string | undefined;
}

/** Run, device, optimizer, schedule, gradients and what a user watches, in the order they run. `given` are the options as they came, without defaults; `prompts` what grids show that are of no option. */
export function commonPlugins(schema: z.ZodObject, o: CommonOptions & Reads, given: object, prompts?: readonly string[]): AnyPlugin[] {
  const warm = warmsUp(o.lrScheduler);
  const worldSize = rankFromEnvironment()?.worldSize ?? 1;
  const rate = scaledLearningRate(o, worldSize);
  const reports = (name: 'csv' | 'tensorboard') => o.reportTo.includes(name) || o.reportTo.includes('all');
  const tellsMlflow = o.reportTo.includes('mlflow') || (o.reportTo.includes('all') && mlflowSettings().trackingUri !== undefined);
  const notes = idleOptions(schema, o, spokenOf(given, o), worldSize);
  if (o.scaleLr)
    notes.push(
      `the learning rate ${o.learningRate} is scaled to ${rate} (accumulation ${o.gradientAccumulationSteps} x batch ${o.trainBatchSize} x processes ${worldSize})`,
    );
  return [
    run({
      learningRate: rate,
      weightDecay: o.adamWeightDecay,
      seed: o.seed,
      // What has no steps has epochs, by default.
      ...(o.maxTrainSteps === undefined ? { epochs: o.numTrainEpochs as number } : { steps: o.maxTrainSteps }),
      ...(warm ? (o.lrWarmupSteps === undefined ? { warmupSteps: 500, warmupAtMost: 0.1 } : { warmupSteps: o.lrWarmupSteps }) : {}),
    }),
    ...(o.fastDevRun ? [fastDevRun(o.outputDir)] : []),
    mpi({ timeout: o.timeout }),
    runFolder(o.outputDir, {
      options: shown(o),
      ...(prompts ? { prompts } : {}),
      reads: [
        o.pretrainedModelNameOrPath,
        o.pretrainedVaeModelNameOrPath,
        o.trainDataDir,
        o.instanceDataDir,
        o.classDataDir,
        o.datasetName,
        o.validationDataDir,
        o.cacheDir,
      ].filter((path) => path !== undefined),
    }),
    distributed({
      options: sharedOptions(o),
      version: packageVersion(),
      checkEvery: o.checkEvery,
      splitBatches: o.splitBatches,
      shardOptimizer: o.shardOptimizer,
      ...(o.gradientCompression === 'float16' ? { compression: 'float16' as const } : {}),
    }),
    device(o.device, {
      ...(o.threads === undefined ? {} : { threads: o.threads }),
      ...(o.deviceMemory === undefined ? {} : { memory: o.deviceMemory }),
    }),
    ...(notes.length > 0 ? [notice(notes)] : []),
    o.decayExclude ? groups(optimizerOf(o), { undecayed: { match: o.decayExclude, weightDecay: 0 } }) : optimizerOf(o),
    ...scheduleByName(o.lrScheduler, { cycles: o.lrNumCycles, power: o.lrPower, end: o.lrEnd, rules: o.lrStepRules }),
    accumulation(o.gradientAccumulationSteps),
    ...(o.maxGradNorm > 0 ? [clipping(o.maxGradNorm)] : []),
    nonFiniteGuard(),
    ...(o.mixedPrecision === 'fp16' ? [lossScaling()] : []),
    jsonl(o.outputDir, { every: o.loggingSteps }),
    ...(reports('csv') ? [csv(o.outputDir, { every: o.loggingSteps })] : []),
    ...(reports('tensorboard')
      ? [
          tensorboard(isAbsolute(o.loggingDir) ? o.loggingDir : join(o.outputDir, o.loggingDir), {
            every: o.loggingSteps,
            options: shown(o),
            pictures: o.outputDir,
          }),
        ]
      : []),
    ...(tellsMlflow ? [mlflow({ every: o.loggingSteps, options: shown(o), folder: o.outputDir, name: runName(o.outputDir) })] : []),
    ...(o.ui
      ? [
          ui({
            folder: o.outputDir,
            options: shown(o),
            ...(prompts ? { prompts } : {}),
            every: o.loggingSteps,
            port: o.uiPort,
            host: o.uiHost,
          }),
        ]
      : []),
    ...(o.quiet ? [] : [introduction(o), progress()]),
    checkpoint({
      into: o.outputDir,
      every: o.checkpointingSteps,
      ...(o.checkpointingSeconds === undefined ? {} : { everySeconds: o.checkpointingSeconds }),
      onStop: true,
      atEnd: true,
      ...(o.checkpointsTotalLimit === undefined ? {} : { totalLimit: o.checkpointsTotalLimit }),
      overrides: o.resumeOverride ?? [],
      ...(o.checkpointBest === undefined ? {} : { best: { metric: o.checkpointBest } }),
      ...(o.resumeFromCheckpoint === undefined ? {} : { resume: o.resumeFromCheckpoint }),
    }),
  ];
}
