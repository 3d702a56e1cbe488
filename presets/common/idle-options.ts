import type { z } from 'zod';
import { snake } from './option-facts.js';
import type { imageOptions, modelOptions, OptionValues, optimizerOptions, runOptions, samplingOptions } from './options.js';
import { warmsUp } from './schedules.js';

type Shared = typeof runOptions & typeof optimizerOptions & typeof imageOptions & typeof modelOptions & typeof samplingOptions;
/** The options that decide whether others have an effect; no preset has all. */
type Values = Partial<Omit<OptionValues<Shared>, 'negativePrompt'>> & {
  readonly useEma?: boolean;
  readonly withPriorPreservation?: boolean;
  readonly pushToHub?: boolean;
  readonly streaming?: boolean;
  readonly instancePrompt?: string | undefined;
};

/** What options need to have an effect. */
interface Need {
  readonly options: readonly string[];
  /** Where a preset lacks this option, they have an effect always. */
  readonly of?: string;
  /** Whether they have none. */
  readonly idle: (o: Values, worldSize: number) => boolean;
  /** What is missing or in the way, after "no effect". */
  readonly why: string;
}

const NEEDS: readonly Need[] = [
  {
    options: [
      'numInferenceSteps',
      'guidanceScale',
      'guidanceRescale',
      'negativePrompt',
      'sampler',
      'numValidationImages',
      'validationEpochs',
    ],
    of: 'validationPrompt',
    idle: (o) => o.validationPrompt === undefined && !o.withPriorPreservation,
    why: 'without --validation_prompt',
  },
  {
    options: ['numValidationImages', 'validationEpochs'],
    idle: (o) => o.validationPrompt === undefined,
    why: 'without --validation_prompt',
  },
  {
    options: ['classDataDir', 'classPrompt', 'numClassImages', 'sampleBatchSize', 'priorLossWeight'],
    idle: (o) => !o.withPriorPreservation,
    why: 'without --with_prior_preservation',
  },
  { options: ['guidanceRescale', 'negativePrompt'], idle: (o) => o.guidanceScale === 1, why: 'with --guidance_scale 1' },
  {
    options: ['validationSteps'],
    of: 'validationDataDir',
    idle: (o) => o.validationPrompt === undefined && o.validationDataDir === undefined,
    why: 'without --validation_prompt or --validation_data_dir',
  },
  {
    options: ['loggingDir'],
    idle: (o) => !(o.reportTo ?? []).some((name) => name === 'tensorboard' || name === 'all'),
    why: 'without --report_to tensorboard',
  },
  {
    options: ['bucketStep', 'bucketMin', 'bucketMax', 'bucketUpscale'],
    idle: (o) => o.useAspectRatioBuckets === false,
    why: 'without --use_aspect_ratio_buckets',
  },
  { options: ['captionColumn', 'folderRepeats'], idle: (o) => o.instancePrompt !== undefined, why: 'with --instance_prompt' },
  { options: ['keepTokens'], idle: (o) => o.shuffleCaption === false, why: 'without --shuffle_caption' },
  { options: ['revision'], idle: (o) => o.pretrainedModelNameOrPath === undefined, why: 'without --pretrained_model_name_or_path' },
  {
    options: ['datasetConfigName', 'imageColumn', 'streaming', 'shuffleBufferSize'],
    idle: (o) => o.datasetName === undefined,
    why: 'without --dataset_name',
  },
  { options: ['shuffleBufferSize'], idle: (o) => !o.streaming, why: 'without --streaming' },
  { options: ['cacheDir'], idle: (o) => o.cacheLatents === false && o.datasetName === undefined, why: 'with --cache_latents false' },
  { options: ['emaWarmup', 'emaDecay'], of: 'useEma', idle: (o) => !o.useEma, why: 'without --use_ema' },
  { options: ['numTrainEpochs'], idle: (o) => o.maxTrainSteps !== undefined, why: 'with --max_train_steps' },
  {
    options: ['lrWarmupSteps'],
    idle: (o) => o.lrScheduler !== undefined && !warmsUp(o.lrScheduler) && o.lrWarmupSteps !== 0,
    why: 'with --lr_scheduler constant, piecewise_constant or one_cycle',
  },
  {
    options: ['lrNumCycles'],
    idle: (o) => o.lrScheduler !== 'cosine' && o.lrScheduler !== 'cosine_with_restarts',
    why: 'without --lr_scheduler cosine or cosine_with_restarts',
  },
  { options: ['lrPower', 'lrEnd'], idle: (o) => o.lrScheduler !== 'polynomial', why: 'without --lr_scheduler polynomial' },
  { options: ['lrStepRules'], idle: (o) => o.lrScheduler !== 'piecewise_constant', why: 'without --lr_scheduler piecewise_constant' },
  {
    options: ['adamBeta1', 'adamBeta2', 'adamEpsilon'],
    idle: (o) => !['adamw', 'adamw8bit', 'prodigy'].includes(o.optimizer ?? 'adamw'),
    why: 'without --optimizer adamw, adamw8bit or prodigy',
  },
  { options: ['decayExclude'], idle: (o) => o.adamWeightDecay === 0, why: 'with --adam_weight_decay 0' },
  { options: ['threads'], idle: (o) => o.device !== 'auto' && o.device !== 'wasm', why: 'without --device wasm' },
  { options: ['hubModelId', 'hubToken'], idle: (o) => !o.pushToHub, why: 'without --push_to_hub' },
  { options: ['uiPort', 'uiHost'], idle: (o) => !o.ui, why: 'without --ui' },
  { options: ['resumeOverride'], idle: (o) => o.resumeFromCheckpoint === undefined, why: 'without --resume_from_checkpoint' },
  {
    options: ['timeout', 'checkEvery', 'splitBatches', 'gradientCompression', 'shardOptimizer'],
    idle: (_, worldSize) => worldSize === 1,
    why: 'with one process',
  },
];

/**
 * Of the options that were given (not of defaults), those which the others leave without an effect: a line for each reason. `o` are all of them, checked
 * and with their defaults.
 */
export function idleOptions({ shape }: z.ZodObject, o: Values, given: object, worldSize = 1): string[] {
  const left = new Set(Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [name])));
  const lines: string[] = [];
  for (const { options, of, idle, why } of NEEDS) {
    const found = options.filter((name) => left.has(name));
    if (found.length === 0 || (of !== undefined && !(of in shape)) || !idle(o, worldSize)) continue;
    lines.push(`${found.map((name) => `--${snake(name)}`).join(', ')} ${found.length === 1 ? 'has' : 'have'} no effect ${why}`);
    for (const name of found) left.delete(name);
  }
  return lines;
}
