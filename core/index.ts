import 'reflect-metadata';

export { NotReplayable, saidOf } from './captured.js';
export { type Collective, oneProcess } from './collective.js';
export { type Batch, type Data, microBatchesOf, type Source } from './data.js';
export { ERRORS, type ErrorCode } from './error-codes.js';
export {
  abridged,
  afterError,
  attachLater,
  fail,
  messageOf,
  type OptionChecks,
  type Problem,
  Problems,
  printable,
  problemText,
  refuseInvalid,
  SteploomError,
} from './errors.js';
export type { Forecast, GraphForecast, MemoryForecast } from './forecast.js';
export { Hash, hashOf, hashOfText } from './hash.js';
export { type Better, betterThan, checkWatched, type Metrics, watched } from './metrics.js';
export {
  type Context,
  type Inputs,
  type Model,
  type ModuleFacts,
  makeContext,
  type Parameter,
  type Tensor,
  type Tensors,
  trainablePaths,
  type Wrap,
  weightsOf,
} from './model.js';
export { matches, type NamePattern } from './name-pattern.js';
export type { Micro, Plan, Position } from './plan.js';
export { Composition, compose } from './plugin/compose.js';
export type {
  FinishedRecord,
  HookName,
  LogRecord,
  PluginHooks,
  Purpose,
  Requests,
  RunEnd,
  ScheduleInput,
  Sum,
  Tappable,
} from './plugin/hooks.js';
export type { AnyPlugin, Filling, Host, Plugin, PluginBase, PluginClass, PluginFacts } from './plugin/plugin.js';
export * from './plugin/roles.js';
export { run } from './plugin/run.js';
export { type Random, RandomGenerator, seededRandom } from './random.js';
export { recomputed, withRecomputedBlocks } from './recomputed.js';
export { type Capturable, type CapturedGraph, type GraphCapturer, ReplayedPart } from './replayed.js';
export { macrotask } from './run/breathe.js';
export type { Explanation } from './run/explain.js';
export type { BatchSizeOptions, BatchSizes, BatchTrial } from './run/find-batch-size.js';
export type { LearningRateOptions, LearningRates } from './run/find-learning-rate.js';
export type { At, Extremes } from './run/history.js';
export type { SessionOptions } from './run/prepared.js';
export type { Span, TapTime } from './run/profile.js';
export { sizeText } from './size-text.js';
export {
  allToHost,
  assignAll,
  fromHost,
  isTensorData,
  type Json,
  type Settings,
  type Snapshot,
  type State,
  type TensorData,
  toHost,
  trainableVariables,
} from './snapshot.js';
export { backward, differentiable, withoutGradient } from './tape.js';
export { type Result, Trainer } from './trainer.js';
