import 'reflect-metadata';

export { oneProcess } from './collective.js';
export type { Batch, Data, Source } from './data.js';
export { fail, type Problem, Problems, SteploomError } from './errors.js';
export { hashOf, hashOfText } from './hash.js';
export {
  type Context,
  type GroupSettings,
  type Inputs,
  type Model,
  type ModuleFacts,
  makeContext,
  type Parameter,
  type Tensors,
  trainablePaths,
  type Wrap,
  weightsOf,
} from './model.js';
export type { Micro, Plan, Position } from './plan.js';
export { Composition, compose } from './plugin/compose.js';
export type { Explanation } from './plugin/explain.js';
export type {
  Ending,
  FinishedRecord,
  HookName,
  LogRecord,
  Metrics,
  PluginHooks,
  Requests,
  ScheduleInput,
  Span,
  Sum,
  TapTime,
} from './plugin/hooks.js';
export type { AnyPlugin, Host, Plugin, PluginClass, PluginFacts } from './plugin/plugin.js';
export * from './plugin/roles.js';
export { run } from './plugin/run.js';
export { Generator, type Random, seededRandom } from './random.js';
export type { SessionOptions } from './run/session.js';
export { allToHost, assignAll, fromHost, isTensorData, type Json, type Snapshot, type State, type TensorData, toHost } from './snapshot.js';
export { backward } from './tape.js';
export { type Result, Trainer } from './trainer.js';
