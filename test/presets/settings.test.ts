import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Composition, RUN } from '../../core/index.js';
import { autoencoder, autoencoderOptions } from '../../presets/autoencoder.js';
import { PRESETS } from '../../presets/cli/registry.js';
import { emojiBaseFolder } from '../../presets/common/package-root.js';
import { dreamboothLora, dreamboothLoraOptions } from '../../presets/dreambooth-lora.js';
import { loraTextToImage, loraTextToImageOptions } from '../../presets/lora-text-to-image.js';
import { textToImage, textToImageOptions } from '../../presets/text-to-image.js';
import { needsOf } from '../support/preset-needs.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-settings-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** What a snapshot compares of plugins, and of the run, before a model is built. */
const comparedOf = async (composition: Composition) => {
  const all: Record<string, unknown> = {};
  for (const plugin of composition.plugins as readonly { name: string; fills?: symbol; settings?(): unknown }[]) {
    const settings = await plugin.settings?.();
    if (settings !== undefined) all[plugin.name] = settings;
    if (plugin.fills === RUN) all.run = plugin;
  }
  return JSON.stringify(all);
};

/** A folder with a table. */
const TABLES = fileURLToPath(new URL('../fixtures/pictures', import.meta.url));

/** Options that change what is computed, each with another value, and with what makes it matter. */
const COMPARED: Record<string, Record<string, unknown>> = {
  seed: { seed: 5 },
  maxTrainSteps: { maxTrainSteps: 7 },
  numTrainEpochs: { numTrainEpochs: 7 },
  learningRate: { learningRate: 0.5 },
  scaleLr: { scaleLr: true },
  lrScheduler: { lrScheduler: 'linear' },
  lrWarmupSteps: { lrScheduler: 'linear', lrWarmupSteps: 3 },
  lrNumCycles: { lrScheduler: 'cosine', lrNumCycles: 3 },
  lrPower: { lrScheduler: 'polynomial', lrPower: 3 },
  lrEnd: { lrScheduler: 'polynomial', lrEnd: 1e-9 },
  lrStepRules: { lrScheduler: 'piecewise_constant', lrStepRules: '1:5,0.5' },
  optimizer: { optimizer: 'lion' },
  use8bitAdam: { use8bitAdam: true },
  decayExclude: { decayExclude: ['bias'] },
  adamBeta1: { adamBeta1: 0.5 },
  adamBeta2: { adamBeta2: 0.5 },
  adamEpsilon: { adamEpsilon: 0.5 },
  adamWeightDecay: { adamWeightDecay: 0.5 },
  maxGradNorm: { maxGradNorm: 0.5 },
  snrGamma: { snrGamma: 5 },
  noiseOffset: { noiseOffset: 0.5 },
  captionDropout: { captionDropout: 0.5 },
  mixedPrecision: { mixedPrecision: 'fp16' },
  // Without what is put around the folder, which asks it for its settings in a run only.
  centerCrop: { cacheLatents: false, centerCrop: true },
  randomFlip: { cacheLatents: false, randomFlip: true },
  shuffleCaption: { cacheLatents: false, shuffleCaption: true },
  keepTokens: { cacheLatents: false, shuffleCaption: true, keepTokens: 2 },
  useAspectRatioBuckets: { cacheLatents: false, useAspectRatioBuckets: true },
  bucketStep: { cacheLatents: false, useAspectRatioBuckets: true, bucketStep: 32 },
  bucketMin: { cacheLatents: false, useAspectRatioBuckets: true, bucketMin: 32 },
  bucketMax: { cacheLatents: false, useAspectRatioBuckets: true, bucketMax: 640 },
  bucketUpscale: { cacheLatents: false, useAspectRatioBuckets: true, bucketUpscale: true },
  alphaMask: { cacheLatents: false, alphaMask: true },
  background: { cacheLatents: false, background: 'black' },
  shuffleBufferSize: { trainDataDir: undefined, datasetName: TABLES, streaming: true, shuffleBufferSize: 5 },
  imageInterpolationMode: { cacheLatents: false, imageInterpolationMode: 'bicubic' },
  priorLossWeight: { cacheLatents: false, withPriorPreservation: true, classDataDir: 'dogs', classPrompt: 'a dog', priorLossWeight: 0.5 },
  rank: { rank: 7 },
  loraAlpha: { loraAlpha: 77 },
  loraDropout: { loraDropout: 0.5 },
  loraTargets: { loraTargets: ['to_q'] },
  useRslora: { useRslora: true },
  rankPattern: { rankPattern: ['to_q=8'] },
  alphaPattern: { alphaPattern: ['to_q=8'] },
  useDora: { useDora: true },
  trainTextEncoder: { trainTextEncoder: true },
  useEma: { useEma: true },
  emaWarmup: { useEma: true, emaWarmup: 'power' },
  emaDecay: { useEma: true, emaDecay: 0.5 },
  l1Weight: { l1Weight: 0.5 },
  l2Weight: { l2Weight: 0.5 },
  klWeight: { klWeight: 0.5 },
  edgeWeight: { edgeWeight: 0.5 },
  colourShare: { colourShare: 0.5 },
};

/** What must be given all the same. */
const OTHERWISE: Record<string, unknown> = { lrStepRules: '1:9,0.1' };

/** Compared as lengths of the plan, or as content: of the data set (its fingerprint), of the base model. */
const BY_CONTENT = [
  ...['gradientAccumulationSteps', 'trainBatchSize', 'splitBatches', 'limitItems'],
  ...['captionPrefix', 'folderRepeats'],
  ...['instanceDataDir', 'instancePrompt', 'withPriorPreservation', 'classDataDir', 'classPrompt', 'numClassImages'],
  ...['trainDataDir', 'captionColumn', 'maxTrainSamples', 'skipBadImages', 'resolution'],
  ...[
    'pretrainedModelNameOrPath',
    'pretrainedVaeModelNameOrPath',
    'vaeConfig',
    'datasetName',
    'datasetConfigName',
    'imageColumn',
    'streaming',
    'predictionType',
    'revision',
    'variant',
    'clipSkip',
    'longCaptions',
  ],
];

/** Where and how it is computed, watched, saved, evaluated or drawn: what is learnt stays the same. */
const HARMLESS = [
  'outputDir',
  'device',
  'threads',
  'deviceMemory',
  'loggingSteps',
  'reportTo',
  'loggingDir',
  'checkpointingSteps',
  'checkpointingSeconds',
  'quiet',
  // Nothing is left of it.
  'fastDevRun',
].concat(
  [
    'checkpointsTotalLimit',
    'checkpointBest',
    'resumeOverride',
    'resumeFromCheckpoint',
    'ui',
    'uiPort',
    'uiHost',
    'timeout',
    'checkEvery',
    'shardOptimizer',
  ],
  ['gradientCompression', 'maxPixels', 'validationDataDir', 'validationSteps', 'earlyStoppingPatience', 'validationPrompt'],
  ['validationEpochs', 'numValidationImages', 'sampleBatchSize', 'pushToHub', 'hubModelId', 'hubToken'],
  [
    'numInferenceSteps',
    'guidanceScale',
    'guidanceRescale',
    'negativePrompt',
    'sampler',
    'cacheLatents',
    'cacheDir',
    'gradientCheckpointing',
    'graphCapture',
  ],
);

test.each([
  ['text-to-image', textToImageOptions, textToImage],
  ['lora-text-to-image', loraTextToImageOptions, loraTextToImage],
  ['autoencoder', autoencoderOptions, (o: object) => autoencoder({ pretrainedVaeModelNameOrPath: emojiBaseFolder(), ...o } as never)],
  ['dreambooth-lora', dreamboothLoraOptions, dreamboothLora],
] as const)('every option of %s that changes what is computed is among what a resumed run compares', async (_, { shape }, preset) => {
  const made = async (options: object) => comparedOf(await preset({ ...needsOf(shape, folder), outputDir: folder, ...options } as never));
  for (const name of Object.keys(shape)) {
    const lists = [name in COMPARED, BY_CONTENT.includes(name), HARMLESS.includes(name)];
    expect([name, lists.filter(Boolean).length]).toEqual([name, 1]);
    if (!(name in COMPARED)) continue;
    const { [name]: value, ...others } = COMPARED[name];
    const context = Object.fromEntries(Object.entries(others).filter(([other]) => other in shape));
    // Beside the same without it.
    expect(await made({ ...context, [name]: value }), name).not.toBe(
      await made(name in OTHERWISE ? { ...context, [name]: OTHERWISE[name] } : context),
    );
  }
});

test.each(Object.entries(PRESETS).filter(([, { options }]) => 'snrGamma' in options.shape))(
  '%s gives the objective every option that it has for it',
  async (_, { options, make }) => {
    const needed = needsOf(options.shape, folder);
    const made = async (given: object) => comparedOf(await make({ ...needed, outputDir: folder, ...given } as never));
    const usual = await made({});
    for (const name of ['snrGamma', 'noiseOffset', 'captionDropout']) expect(await made(COMPARED[name]), name).not.toBe(usual);
  },
);
