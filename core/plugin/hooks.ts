import { AsyncSeriesHook, AsyncSeriesWaterfallHook, SyncBailHook, SyncHook, SyncWaterfallHook } from 'tapable';
import type { Batch, Source } from '../data.js';
import { fail, type Problems } from '../errors.js';
import type { Metrics } from '../metrics.js';
import type { Model, Parameter, Tensors } from '../model.js';
import type { Micro, Plan, Position } from '../plan.js';
import type { Snapshot } from '../snapshot.js';
import type { Rank, Scalar, Tensor } from '../tf.js';
import type { Update } from './roles.js';

/** Things asked for, counted over ranks; above 0 means yes. */
export interface Requests {
  readonly stop: number;
  readonly checkpoint: number;
  readonly evaluate: number;
  /** The window was broken off by a stop: its gradients are dropped, and the run ends where the last step ended. */
  readonly abandon: number;
}

/** Sums over items: of gradients and of the loss. */
export interface Sum {
  readonly gradients: Tensors;
  readonly loss: Scalar;
  readonly items: number;
}

/** What a multiplier of the learning rate may depend on. `step` counts from 0; `totalSteps` and `warmupSteps` are the plan's. */
export interface ScheduleInput {
  readonly step: number;
  readonly group: string;
  readonly warmupSteps: number;
  readonly totalSteps: number;
  readonly baseLearningRate: number;
  readonly metrics: Metrics;
}

/** One line of the log. A scalar on the device is read back by the core, which disposes it; it never stalls the loop. */
export type LogRecord = Readonly<Record<string, number | string | Scalar>>;
export type FinishedRecord = Readonly<Record<string, number | string>>;

/** What an ended run says of itself. */
export interface RunEnd {
  readonly step: number;
  readonly stopped: boolean;
}

/** What weights are wanted for. */
export type Purpose = 'evaluate' | 'sample' | 'export';

/**
 * All hooks, in the order a run meets them; docs/loop.md shows each in its place. A waterfall's tap returns its first argument or
 * another value in its place; whoever returns another tensor for one it was given disposes what it replaced, and the core disposes
 * what comes out last. Other taps only look.
 */
export const makeHooks = () => ({
  /** Before anything is built: adds what is wrong with options or files to `problems`. Every rank; collectives may be used. */
  validate: new AsyncSeriesHook<[problems: Problems]>(['problems']),
  /**
   * The data set is open: returns the source to train on (a rank's share, say). The plan is fixed from it afterwards. The core disposes the
   * source that comes out last: who puts another in its place disposes what it replaced, or lets the new one's dispose() do so.
   */
  prepareData: new AsyncSeriesWaterfallHook<[source: Source, problems: Problems]>(['source', 'problems']),
  /** The model is built: returns the model to train, with parameters or wraps added. The core disposes its variables. */
  prepareModel: new AsyncSeriesWaterfallHook<[model: Model, problems: Problems]>(['model', 'problems']),
  /** The model is complete: returns which of its trained parameters this process's optimizer updates, at first all; by their paths. */
  prepareOptimizer: new SyncWaterfallHook<[parameters: ReadonlyMap<string, Parameter>]>(['parameters']),
  /**
   * Before state is restored: returns the snapshot to restore, or null. On other ranks than 0 it starts as null. A snapshot is data of the host's;
   * the model is lent, and its variables may be given other values.
   */
  shareModel: new AsyncSeriesWaterfallHook<[state: Snapshot | null, model: Model]>(['state', 'model']),
  /** Set-up is complete and state restored; the first step follows. Model, plan and weights are there. */
  onStart: new AsyncSeriesHook<[plan: Plan]>(['plan']),
  /** An epoch begins, or is resumed in its middle: whatever is done here is pure in the position. */
  beforeEpoch: new AsyncSeriesHook<[position: Position]>(['position']),
  /** A batch of training is loaded: returns the batch to train on (augmentation). It disposes the tensors that it replaces. */
  onBatch: new SyncWaterfallHook<[batch: Batch, micro: Micro]>(['batch', 'micro']),
  /** On the tape: returns the mean loss that gradients are taken of (a regularizer adds to it). Disposes nothing. */
  onLoss: new SyncWaterfallHook<[loss: Scalar, micro: Micro]>(['loss', 'micro']),
  /** Before the backward pass: returns the gradient of the loss that it starts from, at first the number of items (loss scaling). */
  scaleLoss: new SyncWaterfallHook<[seed: number | Scalar]>(['seed']),
  /** A gradient is complete, while the backward pass goes on with others. Borrowed: neither kept nor disposed. */
  // Rank is named here, since its declaration would else name a path that not every resolution finds.
  onGradient: new SyncHook<[path: string, gradient: Tensor<Rank>, micro: Micro]>(['path', 'gradient', 'micro']),
  /** A microBatch's sums over its items: returns them, or others (gradient noise), and disposes the tensors that it replaces. */
  afterBackward: new SyncWaterfallHook<[sum: Sum, micro: Micro]>(['sum', 'micro']),
  /** The role WINDOW alone: returns the window's sums so far, and keeps what it needs until the window ends. */
  onAccumulate: new SyncWaterfallHook<[sum: Sum, micro: Micro]>(['sum', 'micro']),
  /** A window is complete: returns the requests with what this plugin asks for at the end of this step, each as 1. Ranks may ask for different things. */
  onRequest: new SyncWaterfallHook<[requests: Requests, position: Position, metrics: Metrics]>(['requests', 'position', 'metrics']),
  /** Returns sums, items and requests over all ranks: the one collective call of a step. It is given the sums for good: what it does not return it disposes. */
  onSync: new AsyncSeriesWaterfallHook<[sum: Sum & { readonly requests: Requests }, step: number]>(['sum', 'step']),
  /**
   * The sums over all ranks are there: returns the update, whose `scale` starts as 1 / items, with the inverse of scaleLoss in it, and `finite` 0
   * where it must not be applied. It disposes the tensors that it replaces, a `scale` or `finite` on the device too.
   */
  onUnscale: new SyncWaterfallHook<[update: Update, step: number]>(['update', 'step']),
  /** For each parameter group: returns what the base learning rate is multiplied with. Pure in its input, it resumes exactly. */
  onSchedule: new SyncWaterfallHook<[multiplier: number, input: ScheduleInput]>(['multiplier', 'input']),
  /**
   * The last word on the update before the optimizer applies it: clipping multiplies `scale`, a guard sets `finite`. Neither is read back. It
   * disposes the tensors that it replaces (gradients, `scale`, `finite`); the core disposes the rest once they were used.
   */
  beforeStep: new SyncWaterfallHook<[update: Update, step: number]>(['update', 'step']),
  /** The optimizer has updated its parameters, on every rank: those that others have updated may be fetched. Weights belong to no step until then. */
  afterUpdate: new AsyncSeriesHook<[step: number]>(['step']),
  /** The weights are updated, if `finite` (a number, or a borrowed scalar on the device) was 1. */
  afterStep: new SyncHook<[step: number, finite: number | Scalar]>(['step', 'finite']),
  /** After each step, before its evaluation: whether it is logged. The first answer that is not undefined counts; never logged where nobody answers. */
  shouldLog: new SyncBailHook<[position: Position], boolean>(['position']),
  /**
   * A step is logged: returns the record with more fields, as numbers or scalars on the device that the core reads and disposes. It starts with
   * `step` (counted from 1), `epoch`, the mean `loss` and `learningRate`, with `learningRate.<group>` for each group whose rate is another.
   */
  onLog: new AsyncSeriesWaterfallHook<[record: LogRecord, step: number]>(['record', 'step']),
  /**
   * A record has been read back. A step's comes in the background, at most one at a time; that of an evaluation, `step`, `epoch` and its metrics,
   * comes after onEvaluate, and the run waits for it.
   */
  onRecord: new AsyncSeriesHook<[record: FinishedRecord]>(['record']),
  /** An evaluation was asked for: returns the metrics, at first none (`{}`), with more of them. The same on every rank. */
  onEvaluate: new AsyncSeriesWaterfallHook<[metrics: Metrics, step: number]>(['metrics', 'step']),
  /** An epoch has ended, or the run within it: its last step is made, logged and evaluated. */
  afterEpoch: new AsyncSeriesHook<[position: Position]>(['position']),
  /**
   * A checkpoint was asked for, on every rank: returns the snapshot, with what other ranks alone hold of it; on other ranks than 0 it starts as null. Where
   * several ranks have such, nothing is saved after an error: the others cannot be asked then.
   */
  beforeCheckpoint: new AsyncSeriesWaterfallHook<[snapshot: Snapshot | null]>(['snapshot']),
  /**
   * A checkpoint was asked for, or an error ends the run: keeps the snapshot somewhere. On rank 0 alone, but for an error that other ranks do not
   * have: then on the rank that has it. The snapshot is data of the host's, and may be held as long as wanted.
   */
  onCheckpoint: new AsyncSeriesHook<[snapshot: Snapshot, metrics: Metrics]>(['snapshot', 'metrics']),
  /** Whenever weights are wanted outside of training: returns others in their place (an average). Nobody disposes any. */
  onWeights: new SyncWaterfallHook<[parameters: Tensors, purpose: Purpose]>(['parameters', 'purpose']),
  /** The plan is done, or the run was stopped: final files are written. Not after an error. */
  onEnd: new AsyncSeriesHook<[end: RunEnd]>(['end']),
  /** Training failed, or set-up did after plugins were applied; the error is thrown on afterwards. What a tap throws is attached to it. */
  onError: new AsyncSeriesHook<[error: unknown]>(['error']),
  /** Whatever happened: the run is being taken down. Plugins' own dispose() follows, in reverse order. */
  onDispose: new AsyncSeriesHook<[]>([]),
});

export type Hooks = ReturnType<typeof makeHooks>;
export type HookName = keyof Hooks;

/** Nothing: an async function, which returns a promise, is refused. */
// biome-ignore lint/suspicious/noConfusingVoidType: void alone would accept a function that returns anything, a promise too.
type Nothing = void | undefined;

/** A hook's tap, with or without the plugin's name before it, as tapable has it. */
interface Tap<A extends unknown[], R> {
  (fn: (...args: A) => R): void;
  (name: string, fn: (...args: A) => R): void;
}

/**
 * A hook as a plugin sees it: it can be tapped and nothing else. A tap of a waterfall returns the next value, a tap that
 * only looks returns nothing (an async function there does not compile, and throws HOOK_ASYNC from JavaScript).
 */
export type Tappable<H> =
  H extends AsyncSeriesWaterfallHook<infer A extends [unknown, ...unknown[]]>
    ? { readonly tap: Tap<A, A[0]>; readonly tapPromise: Tap<A, Promise<A[0]>> }
    : H extends SyncWaterfallHook<infer A extends [unknown, ...unknown[]]>
      ? { readonly tap: Tap<A, A[0]> }
      : H extends SyncBailHook<infer A extends unknown[], infer R>
        ? { readonly tap: Tap<A, R | undefined> }
        : H extends AsyncSeriesHook<infer A extends unknown[]>
          ? { readonly tap: Tap<A, Nothing>; readonly tapPromise: Tap<A, Promise<void>> }
          : H extends SyncHook<infer A extends unknown[]>
            ? { readonly tap: Tap<A, Nothing> }
            : never;

export type PluginHooks = { readonly [N in HookName]: Tappable<Hooks[N]> };

/** What a hook does with what its taps return: hand it on, take the first answer, or nothing. */
export type HookKind = 'waterfall' | 'bail' | 'look';

export const kindOf = (hook: object): HookKind =>
  hook.constructor === SyncWaterfallHook || hook.constructor === AsyncSeriesWaterfallHook
    ? 'waterfall'
    : hook.constructor === SyncBailHook
      ? 'bail'
      : 'look';

export const isAsynchronous = (hook: object): boolean =>
  hook.constructor === AsyncSeriesHook || hook.constructor === AsyncSeriesWaterfallHook;

// tapable's hook classes are plain functions without a prototype: instances are told apart by their constructor.
for (const [make, Class] of [
  [() => new SyncWaterfallHook<[number]>(['x']), SyncWaterfallHook],
  [() => new AsyncSeriesWaterfallHook<[number]>(['x']), AsyncSeriesWaterfallHook],
  [() => new AsyncSeriesHook<[number]>(['x']), AsyncSeriesHook],
  [() => new SyncBailHook<[number], number>(['x']), SyncBailHook],
] as const) {
  if (make().constructor !== Class)
    fail('LIBRARY_DIFFERS', 'core', 'this version of tapable sets its hooks’ constructors otherwise', 'Install tapable 2.3.');
}
