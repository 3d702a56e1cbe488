// The plugins that run in a browser as well as in Node.
export { type LoraOptions, lora, loraModules, mergeLora, withLora } from './adapters/lora.js';
export { LORA_FILE, readLora, writeLora } from './adapters/lora-file.js';
export { mergeAtEnd } from './adapters/merge-at-end.js';
export { type ArraysOptions, arrays, epochOrder } from './data/arrays.js';
export { type StreamElement, type StreamOptions, stream } from './data/stream.js';
export { cpu } from './devices/cpu.js';
export { webgpu } from './devices/webgpu.js';
export { type DistributedOptions, distributed } from './distributed/distributed.js';
export { type Shard, type ShardOptions, shardOf } from './distributed/shard.js';
export { type AccumulationOptions, accumulation } from './gradients/accumulation.js';
export { clipping } from './gradients/clipping.js';
export { globalNorm } from './gradients/global-norm.js';
export { type NonFiniteGuardOptions, nonFiniteGuard } from './gradients/non-finite-guard.js';
export { type CLIPTextConfig, clipText } from './models/clip-text.js';
export { type Codec, spaceToDepth } from './models/codec.js';
export { type FunctionModelOptions, functionModel } from './models/function-model.js';
export { type LayersModelOptions, layersModel } from './models/layers-model.js';
export { buildTextToImage, type TextToImage, type TextToImageOptions, textToImageModel } from './models/text-to-image.js';
export { clipTokenizer, loadTokenizer, type Tokenizer, wordTokenizer } from './models/tokenizer.js';
export { type UNetConfig, unet2DCondition } from './models/unet2d-condition.js';
export { makeParameters, type WeightSpec } from './models/weights.js';
export { type DenoisingOptions, denoising, isTextToImage, minSnrWeight } from './objectives/denoising.js';
export { accuracy, topK } from './objectives/metrics.js';
export { type NoiseConfig, type NoiseSchedule, noiseSchedule } from './objectives/noise-schedule.js';
export {
  type Comparison,
  LOSSES,
  type LossName,
  type SupervisedOptions,
  supervised as supervisedObjective,
} from './objectives/supervised.js';
export { type EarlyStoppingOptions, earlyStopping } from './observe/early-stopping.js';
export { type EvaluationOptions, evaluation } from './observe/evaluation.js';
export { type AdafactorOptions, adafactor } from './optimizers/adafactor.js';
export { type AdamWOptions, adamw } from './optimizers/adamw.js';
export { type AdamW8bitOptions, adamw8bit } from './optimizers/adamw8bit.js';
export { OPTIMIZERS, type OptimizerName, optimizerByName } from './optimizers/by-name.js';
export { BIASES_AND_NORMS, type GroupOptions, groups } from './optimizers/groups.js';
export { type LionOptions, lion } from './optimizers/lion.js';
export { matches, type NamePattern } from './optimizers/patterns.js';
export { type ProdigyOptions, prodigy } from './optimizers/prodigy.js';
export { type SGDOptions, sgd } from './optimizers/sgd.js';
export { type Files, fetched, inMemory } from './persist/files.js';
export { layersFiles } from './persist/layers-files.js';
export { readSafetensors, writeSafetensors } from './persist/safetensors.js';
export { saveModel } from './persist/save-model.js';
export { readSnapshot, writeSnapshot } from './persist/snapshot-files.js';
export { ddim } from './samplers/ddim.js';
export { dpmSolverPlusPlus } from './samplers/dpm-solver-pp.js';
export { type SampleOptions, type Sampler, sampleImages } from './samplers/sampler.js';
export { SCHEDULES, type ScheduleName, type ScheduleOptions, scheduleByName } from './schedules/by-name.js';
export { constant } from './schedules/constant.js';
export { cosine } from './schedules/cosine.js';
export { cosineWithRestarts } from './schedules/cosine-with-restarts.js';
export { inverseSqrt } from './schedules/inverse-sqrt.js';
export { linear } from './schedules/linear.js';
export { oneCycle } from './schedules/one-cycle.js';
export { piecewiseConstant } from './schedules/piecewise-constant.js';
export { polynomial } from './schedules/polynomial.js';
export { type ReduceOnPlateauOptions, reduceOnPlateau } from './schedules/reduce-on-plateau.js';
export { type Curve, schedule } from './schedules/schedule.js';
export { sequence } from './schedules/sequence.js';
export { warmup } from './schedules/warmup.js';
export { warmupStableDecay } from './schedules/warmup-stable-decay.js';
export { type EMAOptions, ema, emaDecay } from './weights/ema.js';
