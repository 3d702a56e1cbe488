// The plugins that run in a browser as well as in Node, the types their options need, and what one does with a trained model.

export { mergeLora } from './adapters/lora/merge.js';
export { readLora, writeLora } from './adapters/lora/serialize.js';
export { type LoraOptions, lora } from './adapters/lora.js';
export { mergeAtEnd } from './adapters/merge-at-end.js';
export { type ArraysOptions, arrays } from './data/arrays.js';
export { type StreamElement, type StreamOptions, type StreamSource, stream } from './data/stream.js';
export { cpu } from './devices/cpu.js';
export { webgpu } from './devices/webgpu.js';
export { type DistributedOptions, distributed } from './distributed/distributed.js';
export { type AccumulationOptions, accumulation } from './gradients/accumulation.js';
export { clipping } from './gradients/clipping.js';
export { type NonFiniteGuardOptions, nonFiniteGuard } from './gradients/non-finite-guard.js';
export type { CLIPTextConfig } from './models/clip/text-encoder.js';
export { clipTokenizer, type Tokenizer, wordTokenizer } from './models/clip/tokenizer.js';
export { type FunctionModelOptions, functionModel } from './models/function-model.js';
export type { Outputs } from './models/layers/outputs.js';
export { type LayersModelOptions, layersModel } from './models/layers-model.js';
export type { NoiseConfig } from './models/stable-diffusion/noise-schedule.js';
export {
  buildTextToImage,
  type FreshTextToImage,
  isTextToImage,
  type TextToImage,
  type TextToImageModelOptions,
  textToImageModel,
} from './models/text-to-image-model.js';
export type { UNetConfig } from './models/unet/config.js';
export { type DenoisingOptions, denoising } from './objectives/denoising.js';
export type { Comparison, LossName } from './objectives/losses/losses.js';
export { accuracy, topK } from './objectives/losses/metrics.js';
export { type SupervisedObjectiveOptions, supervisedObjective } from './objectives/supervised-objective.js';
export { type EarlyStoppingOptions, earlyStopping } from './observe/early-stopping.js';
export { type EvaluationOptions, evaluation } from './observe/evaluation.js';
export { type AdafactorOptions, adafactor } from './optimizers/adafactor.js';
export { type AdamWOptions, adamw } from './optimizers/adamw.js';
export { type AdamW8bitOptions, adamw8bit } from './optimizers/adamw8bit.js';
export { BIASES_AND_NORMS, type GroupOptions, groups } from './optimizers/groups.js';
export { type LionOptions, lion } from './optimizers/lion.js';
export { type ProdigyOptions, prodigy } from './optimizers/prodigy.js';
export { type SGDOptions, sgd } from './optimizers/sgd.js';
export { fetched } from './persist/formats/fetched.js';
export { type Files, inMemory } from './persist/formats/files.js';
export { layersFiles } from './persist/formats/layers-files.js';
export { LORA_FILE } from './persist/formats/lora-file.js';
export { type SaveModelOptions, saveModel } from './persist/save-model.js';
export { type DDIMOptions, ddim } from './samplers/ddim.js';
export { type DPMSolverOptions, dpmSolverPlusPlus } from './samplers/dpm-solver-plus-plus.js';
export { type EulerOptions, euler } from './samplers/euler.js';
export { type EulerAncestralOptions, eulerAncestral } from './samplers/euler-ancestral.js';
export { sampleImages } from './samplers/walk/sample-images.js';
export type { SampleOptions } from './samplers/walk/sample-options.js';
export { SAMPLER, type Sampler, type Walk } from './samplers/walk/sampler.js';
export { constant } from './schedules/constant.js';
export { type CosineOptions, cosine } from './schedules/cosine.js';
export { type CosineWithRestartsOptions, cosineWithRestarts } from './schedules/cosine-with-restarts.js';
export { type Curve, type SchedulePlugin, schedule } from './schedules/curve/schedule.js';
export { inverseSqrt } from './schedules/inverse-sqrt.js';
export { linear } from './schedules/linear.js';
export { type OneCycleOptions, oneCycle } from './schedules/one-cycle.js';
export { piecewiseConstant } from './schedules/piecewise-constant.js';
export { type PolynomialOptions, polynomial } from './schedules/polynomial.js';
export { type ReduceOnPlateauOptions, reduceOnPlateau } from './schedules/reduce-on-plateau.js';
export { sequence } from './schedules/sequence.js';
export { warmup } from './schedules/warmup.js';
export { type WarmupStableDecayOptions, warmupStableDecay } from './schedules/warmup-stable-decay.js';
export { type EMAOptions, ema } from './weights/ema.js';
