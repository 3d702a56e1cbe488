import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { z } from 'zod';
import { PRESETS } from '../../presets/cli/registry.js';
import { idleOptions } from '../../presets/common/idle-options.js';
import { dreamboothLoraOptions } from '../../presets/dreambooth-lora.js';
import { emojiOptions } from '../../presets/emoji.js';
import { emojiBaseOptions } from '../../presets/emoji-base.js';
import { textToImageOptions } from '../../presets/text-to-image.js';
import { needsOf } from '../support/preset-needs.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-idle-'));
});
afterAll(() => rm(folder, { recursive: true }));

const said = (schema: z.ZodObject, given: object, worldSize?: number) =>
  idleOptions(schema, schema.parse({ ...needsOf(schema.shape, '.'), ...given }), given, worldSize);

/** Options without an effect, what is said of them, and what gives them one. */
const IDLE: readonly [given: object, line: string, remedy: object][] = [
  [
    { numInferenceSteps: 9, guidanceScale: 3, guidanceRescale: 0.5, negativePrompt: 'blurry', sampler: 'euler' },
    '--num_inference_steps, --guidance_scale, --guidance_rescale, --negative_prompt, --sampler have no effect without --validation_prompt',
    { validationPrompt: 'a cat' },
  ],
  [
    { validationPrompt: 'a cat', guidanceScale: 1, guidanceRescale: 0.5, negativePrompt: 'blurry' },
    '--guidance_rescale, --negative_prompt have no effect with --guidance_scale 1',
    { guidanceScale: 1.5 },
  ],
  [
    { validationSteps: 5 },
    '--validation_steps has no effect without --validation_prompt or --validation_data_dir',
    { validationDataDir: '.' },
  ],
  [
    { validationSteps: 5 },
    '--validation_steps has no effect without --validation_prompt or --validation_data_dir',
    { validationPrompt: ['a'] },
  ],
  [
    { validationEpochs: 5, numValidationImages: 2 },
    '--num_validation_images, --validation_epochs have no effect without --validation_prompt',
    { validationPrompt: ['a'] },
  ],
  [{ loggingDir: 'logs' }, '--logging_dir has no effect without --report_to tensorboard', { reportTo: ['all'] }],
  [{ keepTokens: 2 }, '--keep_tokens has no effect without --shuffle_caption', { shuffleCaption: true }],
  [{ revision: 'main' }, '--revision has no effect without --pretrained_model_name_or_path', { pretrainedModelNameOrPath: 'a/b' }],
  [
    { datasetConfigName: 'x', imageColumn: 'y', streaming: true },
    '--dataset_config_name, --image_column, --streaming have no effect without --dataset_name',
    { trainDataDir: undefined, datasetName: 'a/b' },
  ],
  [
    { trainDataDir: undefined, datasetName: 'a/b', shuffleBufferSize: 9 },
    '--shuffle_buffer_size has no effect without --streaming',
    { streaming: true },
  ],
  [{ cacheDir: 'cache', cacheLatents: false }, '--cache_dir has no effect with --cache_latents false', { cacheLatents: true }],
  [{ emaDecay: 0.5, emaWarmup: 'none' }, '--ema_warmup, --ema_decay have no effect without --use_ema', { useEma: true }],
  [{ numTrainEpochs: 2, maxTrainSteps: 9 }, '--num_train_epochs has no effect with --max_train_steps', { maxTrainSteps: undefined }],
  [
    { lrWarmupSteps: 5 },
    '--lr_warmup_steps has no effect with --lr_scheduler constant, piecewise_constant or one_cycle',
    { lrScheduler: 'linear' },
  ],
  [{ lrNumCycles: 2 }, '--lr_num_cycles has no effect without --lr_scheduler cosine or cosine_with_restarts', { lrScheduler: 'cosine' }],
  [{ lrPower: 2, lrEnd: 0 }, '--lr_power, --lr_end have no effect without --lr_scheduler polynomial', { lrScheduler: 'polynomial' }],
  [
    { lrStepRules: '1:5,0.5' },
    '--lr_step_rules has no effect without --lr_scheduler piecewise_constant',
    { lrScheduler: 'piecewise_constant' },
  ],
  [
    { optimizer: 'lion', adamBeta1: 0.5, adamEpsilon: 1e-6 },
    '--adam_beta1, --adam_epsilon have no effect without --optimizer adamw, adamw8bit or prodigy',
    { optimizer: 'prodigy' },
  ],
  [{ decayExclude: ['bias'], adamWeightDecay: 0 }, '--decay_exclude has no effect with --adam_weight_decay 0', { adamWeightDecay: 0.1 }],
  [{ threads: 2, device: 'cpu' }, '--threads has no effect without --device wasm', { device: 'auto' }],
  [{ uiPort: 8080, uiHost: '::1' }, '--ui_port, --ui_host have no effect without --ui', { ui: true }],
  [{ resumeOverride: ['seed'] }, '--resume_override has no effect without --resume_from_checkpoint', { resumeFromCheckpoint: 'latest' }],
];

test.each(IDLE)('%j: %s', (given, line, remedy) => {
  expect(said(textToImageOptions, given)).toEqual([line]);
  expect(said(textToImageOptions, { ...given, ...remedy })).toEqual([]);
});

test('options for several processes, in one', () => {
  const given = { checkEvery: 5, splitBatches: true, gradientCompression: 'float16', timeout: 5, shardOptimizer: true };
  expect(said(textToImageOptions, given)).toEqual([
    '--timeout, --check_every, --split_batches, --gradient_compression, --shard_optimizer have no effect with one process',
  ]);
  expect(said(textToImageOptions, given, 2)).toEqual([]);
});

test('options of a class, and of drawing, without one', () => {
  const prior = { classDataDir: '/pictures/dogs', classPrompt: 'a dog', numClassImages: 9, sampleBatchSize: 2, priorLossWeight: 0.5 };
  const drawing = { numInferenceSteps: 9, numValidationImages: 2 };
  expect(said(dreamboothLoraOptions, { ...prior, ...drawing })).toEqual([
    '--num_inference_steps, --num_validation_images have no effect without --validation_prompt',
    '--class_data_dir, --class_prompt, --num_class_images, --sample_batch_size, --prior_loss_weight have no effect without --with_prior_preservation',
  ]);
  expect(said(dreamboothLoraOptions, { ...prior, ...drawing, withPriorPreservation: true })).toEqual([
    '--num_validation_images has no effect without --validation_prompt',
  ]);
});

test('options of the hub, where nothing is sent to it', () => {
  const given = { hubModelId: 'a/b', hubToken: 'x' };
  expect(said(dreamboothLoraOptions, given)).toEqual(['--hub_model_id, --hub_token have no effect without --push_to_hub']);
  expect(said(dreamboothLoraOptions, { ...given, pushToHub: true })).toEqual([]);
});

test('nothing is said of what a preset does always, of defaults, or of no warm-up where there is none', () => {
  expect(said(emojiOptions, { numInferenceSteps: 5, sampler: 'euler', lrScheduler: 'constant' })).toEqual([]);
  expect(said(emojiBaseOptions, { emaDecay: 0.5 })).toEqual([]);
  expect(said(textToImageOptions, { lrWarmupSteps: 0, validationSteps: undefined })).toEqual([]);
});

test.each(Object.entries(PRESETS))('%s says it', async (_, { options, make }) => {
  const notices = async (given: object) => {
    const { plugins } = await make({ ...needsOf(options.shape, folder), outputDir: folder, ...given } as never);
    return plugins.filter(({ name }) => name === 'notice').length;
  };
  expect([await notices({}), await notices({ uiPort: 8080 })]).toEqual([0, 1]);
  // Of options that nobody gave with --debug alone.
  vi.stubEnv('STEPLOOM_DEBUG', '1');
  expect(await notices({}).finally(() => vi.unstubAllEnvs())).toBe(1);
});
