import { resolve, sep } from 'node:path';
import { z } from 'zod';
import { type Composition, compose } from '../core/index.js';
import { textToImageModel } from '../plugins/models/text-to-image-model.js';
import { preparation } from '../plugins/observe/progress/preparation.js';
import { saveLora } from '../plugins/persist/save-lora.js';
import { classPictures } from './common/class-pictures.js';
import { diffusionPlugins } from './common/diffusion-plugins.js';
import { devRun, fewest } from './common/fast-dev-run.js';
import { loraOf, loraOptions } from './common/lora-options.js';
import { modelSource } from './common/model-source.js';
import type { DreamboothLoraOptions } from './common/option-types/dreambooth-lora.js';
import {
  bucketOptions,
  count,
  diffusionOptions,
  hubOptions,
  modelOptions,
  notNegative,
  optimizerOptions,
  pictureOptions,
  runOptions,
  samplingOptions,
  text,
} from './common/options.js';
import { parseOptions } from './common/parse-options.js';
import { commonPlugins } from './common/plugins.js';
import { pushOf } from './common/push.js';
import { samplingOf } from './common/sampling.js';

export type { DreamboothLoraOptions };

const options = z.strictObject({
  ...runOptions,
  ...modelOptions,
  instanceDataDir: text().describe('A folder of images of one thing; captions are not looked for.'),
  instancePrompt: text().describe('What each of them shows, with a rare word for the thing, as "a photo of sks dog".'),
  withPriorPreservation: z
    .boolean()
    .default(false)
    .describe('Train on pictures of the thing’s class beside them, so that it is not forgotten.'),
  classDataDir: text().optional().describe('The folder of these; what is missing of them is drawn there before the first step.'),
  classPrompt: text().optional().describe('What each of these shows, as "a photo of dog".'),
  numClassImages: count().default(100).describe('How many of these there are to be.'),
  sampleBatchSize: count().default(4).describe('How many of these are drawn at once.'),
  priorLossWeight: notNegative().default(1).describe('The weight of their loss; that of the thing is 1.'),
  ...pictureOptions,
  ...bucketOptions,
  ...optimizerOptions,
  ...diffusionOptions,
  ...samplingOptions,
  outputDir: runOptions.outputDir.default('runs/dreambooth'),
  numTrainEpochs: runOptions.numTrainEpochs.default(1),
  learningRate: optimizerOptions.learningRate.default(5e-4),
  lrScheduler: optimizerOptions.lrScheduler.default('constant'),
  trainBatchSize: count().default(4).describe('Images of the thing in a microBatch; as many of its class come with them.'),
  captionDropout: diffusionOptions.captionDropout.default(0),
  numInferenceSteps: samplingOptions.numInferenceSteps.default(50),
  guidanceScale: samplingOptions.guidanceScale.default(7.5),
  ...loraOptions,
  ...hubOptions,
});

/** Whether an option that pictures of a class need is there, or not needed. */
const isThere = (name: 'classDataDir' | 'classPrompt') => (given: unknown) => {
  const o = (given ?? {}) as Readonly<Record<string, unknown>>;
  return o.withPriorPreservation !== true || o[name] !== undefined;
};
/** Whether neither of the folders stands in the other: pictures of one kind would then be taken for the other's, those that were drawn for the class at the next start. */
const areApart = (given: unknown) => {
  const { withPriorPreservation, instanceDataDir: a, classDataDir: b } = (given ?? {}) as Readonly<Record<string, unknown>>;
  if (withPriorPreservation !== true || typeof a !== 'string' || typeof b !== 'string') return true;
  const isIn = (path: string, place: string) => `${resolve(path)}${sep}`.startsWith(`${resolve(place)}${sep}`);
  return !isIn(a, b) && !isIn(b, a);
};
const NESTED =
  'it and the folder of the instances are one, or one is in the other, so that pictures of the one would be taken for the other’s: give one beside it';

// Said also where other options are wrong.
const when = () => true;

/** The options of {@link dreamboothLora}, as a schema. */
export const dreamboothLoraOptions = options
  .refine(isThere('classDataDir'), { path: ['classDataDir'], message: 'missing', when })
  .refine(areApart, { path: ['classDataDir'], message: NESTED, when })
  .refine(isThere('classPrompt'), { path: ['classPrompt'], message: 'missing', when });

/** Teaches a text-to-image model one thing with LoRA, from some images of it (DreamBooth, Ruiz et al. 2022). */
export async function dreamboothLora(given: DreamboothLoraOptions): Promise<Composition> {
  const o = devRun(parseOptions('dreambooth-lora', dreamboothLoraOptions, given));
  const adapter = loraOf(o);
  const prior = o.withPriorPreservation
    ? { folder: o.classDataDir as string, caption: o.classPrompt as string, count: o.numClassImages }
    : undefined;
  return compose(
    textToImageModel({ ...modelSource(o), train: 'nothing', mixedPrecision: o.mixedPrecision }),
    // Before the adapters: they are drawn without them.
    ...(prior
      ? [classPictures(prior, { ...samplingOf(o), batchSize: o.sampleBatchSize, ...(o.quiet ? {} : { onProgress: preparation() }) })]
      : []),
    adapter,
    ...commonPlugins(dreamboothLoraOptions, o, given),
    saveLora(o.outputDir, adapter, { resolution: o.resolution }),
    ...pushOf(o),
    ...(await diffusionPlugins(o, given, {
      folder: o.instanceDataDir,
      options: { caption: o.instancePrompt, ...fewest(o.limitItems), ...(prior ? { prior: { ...prior, weight: o.priorLossWeight } } : {}) },
    })),
  );
}
