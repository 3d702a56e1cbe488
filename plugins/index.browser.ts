// The plugins that run in a browser as well as in Node.

export { matches, type NamePattern } from '../core/name-pattern.js';
export { LORA_FILE, readLora, writeLora } from './adapters/lora/file.js';
export { type LoraOptions, lora, loraModules, mergeLora, withLora } from './adapters/lora.js';
export { mergeAtEnd } from './adapters/merge-at-end.js';
export { type ArraysOptions, arrays, epochOrder } from './data/arrays.js';
export { type StreamElement, type StreamOptions, stream } from './data/stream.js';
export { globalNorm } from './devices/compute/reduce.js';
export { cpu } from './devices/cpu.js';
export { webgpu } from './devices/webgpu.js';
export { type DistributedOptions, distributed } from './distributed/distributed.js';
export { type Shard, type ShardOptions, shardOf } from './distributed/sharding/shard.js';
export { type AccumulationOptions, accumulation } from './gradients/accumulation.js';
export { clipping } from './gradients/clipping.js';
export { type NonFiniteGuardOptions, nonFiniteGuard } from './gradients/non-finite-guard.js';
export { type CLIPTextConfig, clipText } from './models/clip/text-encoder.js';
export { clipTokenizer, loadTokenizer, type Tokenizer, wordTokenizer } from './models/clip/tokenizer.js';
export { type FunctionModelOptions, functionModel } from './models/function-model.js';
export { makeParameters, type WeightSpec } from './models/layers/builder.js';
export { type LayersModelOptions, layersModel } from './models/layers-model.js';
export { type NoiseConfig, type NoiseSchedule, noiseSchedule } from './models/stable-diffusion/noise-schedule.js';
export { buildTextToImage, type TextToImage, type TextToImageOptions, textToImageModel } from './models/text-to-image.js';
export { type UNetConfig, unet2DCondition } from './models/unet/unet2d-condition.js';
export { type Codec, spaceToDepth } from './models/vae/codec.js';
export { type DenoisingOptions, denoising, isTextToImage, minSnrWeight } from './objectives/denoising.js';
export { accuracy, topK } from './objectives/losses/metrics.js';
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
export { BIASES_AND_NORMS, type GroupOptions, groups } from './optimizers/groups.js';
export { type LionOptions, lion } from './optimizers/lion.js';
export { type ProdigyOptions, prodigy } from './optimizers/prodigy.js';
export { type SGDOptions, sgd } from './optimizers/sgd.js';
export { type Files, fetched, inMemory } from './persist/formats/files.js';
export { layersFiles } from './persist/formats/layers-files.js';
export { readSafetensors, writeSafetensors } from './persist/formats/safetensors.js';
export { readSnapshot, writeSnapshot } from './persist/formats/snapshot-files.js';
export { saveModel } from './persist/save-model.js';
export { ddim } from './samplers/ddim.js';
export { dpmSolverPlusPlus } from './samplers/dpm-solver-pp.js';
export { type SampleOptions, type Sampler, sampleImages } from './samplers/walk/sampler.js';
export { constant } from './schedules/constant.js';
export { cosine } from './schedules/cosine.js';
export { cosineWithRestarts } from './schedules/cosine-with-restarts.js';
export { type Curve, schedule } from './schedules/curve/schedule.js';
export { inverseSqrt } from './schedules/inverse-sqrt.js';
export { linear } from './schedules/linear.js';
export { oneCycle } from './schedules/one-cycle.js';
export { piecewiseConstant } from './schedules/piecewise-constant.js';
export { polynomial } from './schedules/polynomial.js';
export { type ReduceOnPlateauOptions, reduceOnPlateau } from './schedules/reduce-on-plateau.js';
export { sequence } from './schedules/sequence.js';
export { warmup } from './schedules/warmup.js';
export { warmupStableDecay } from './schedules/warmup-stable-decay.js';
export { type EMAOptions, ema, emaDecay } from './weights/ema.js';
