import type { Scalar, Tensor } from '@tensorflow/tfjs';
import { AsyncSeriesHook, AsyncSeriesWaterfallHook, SyncBailHook, SyncHook, SyncWaterfallHook } from 'tapable';
import type { Batch, Source } from '../data.js';
import { type Problems, SteploomError } from '../errors.js';
import type { Model, Tensors } from '../model.js';
import type { Micro, Plan, Position } from '../plan.js';
import type { Snapshot } from '../snapshot.js';
import type { Update } from './roles.js';

/** Things asked for, counted over ranks; above 0 means yes. */
export interface Requests {
  readonly stop: number;
  readonly checkpoint: number;
  readonly evaluate: number;
  /** The window was broken off by a stop: its gradients are dropped, and the run ends where the last step ended. */
  readonly abandon: number;
}

/** Numbers by name, as evaluation gives them. */
export type Metrics = Readonly<Record<string, number>>;

/** Sums over items: of gradients and of the loss. */
export interface Sum {
  readonly gradients: Tensors;
  readonly loss: Scalar;
  readonly items: number;
}

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
export interface Ending {
  readonly step: number;
  readonly stopped: boolean;
}

/** All hooks, in the order a run meets them. docs/loop.md shows each in its place. */
export const makeHooks = () => ({
  validate: new AsyncSeriesHook<[Problems]>(['problems']),
  prepareData: new AsyncSeriesWaterfallHook<[Source, Problems]>(['source', 'problems']),
  prepareModel: new AsyncSeriesWaterfallHook<[Model, Problems]>(['model', 'problems']),
  shareModel: new AsyncSeriesWaterfallHook<[Snapshot | null, Model]>(['state', 'model']),
  onStart: new AsyncSeriesHook<[Plan]>(['plan']),
  beforeEpoch: new AsyncSeriesHook<[Position]>(['position']),
  onBatch: new SyncWaterfallHook<[Batch, Micro]>(['batch', 'micro']),
  onLoss: new SyncWaterfallHook<[Scalar, Micro]>(['loss', 'micro']),
  scaleLoss: new SyncWaterfallHook<[number | Scalar]>(['seed']),
  onGradient: new SyncHook<[string, Tensor, Micro]>(['path', 'gradient', 'micro']),
  afterBackward: new SyncWaterfallHook<[Sum, Micro]>(['sum', 'micro']),
  onAccumulate: new SyncWaterfallHook<[Sum, Micro]>(['sum', 'micro']),
  onRequest: new SyncWaterfallHook<[Requests, Position, Metrics]>(['requests', 'position', 'metrics']),
  onSync: new AsyncSeriesWaterfallHook<[Sum & { readonly requests: Requests }, number]>(['sum', 'step']),
  onUnscale: new SyncWaterfallHook<[Update, number]>(['update', 'step']),
  onSchedule: new SyncWaterfallHook<[number, ScheduleInput]>(['multiplier', 'input']),
  beforeStep: new SyncWaterfallHook<[Update, number]>(['update', 'step']),
  afterStep: new SyncHook<[number, number | Scalar]>(['step', 'finite']),
  onEvaluate: new AsyncSeriesWaterfallHook<[Metrics, number]>(['metrics', 'step']),
  shouldLog: new SyncBailHook<[Position], boolean>(['position']),
  onLog: new AsyncSeriesWaterfallHook<[LogRecord, number]>(['record', 'step']),
  onRecord: new AsyncSeriesHook<[FinishedRecord]>(['record']),
  onCheckpoint: new AsyncSeriesHook<[Snapshot, Metrics]>(['snapshot', 'metrics']),
  afterEpoch: new AsyncSeriesHook<[Position]>(['position']),
  onWeights: new SyncWaterfallHook<[Tensors, 'evaluate' | 'sample' | 'export']>(['parameters', 'purpose']),
  onEnd: new AsyncSeriesHook<[Ending]>(['ending']),
  onError: new AsyncSeriesHook<[unknown]>(['error']),
  onDispose: new AsyncSeriesHook<[]>([]),
});

export type Hooks = ReturnType<typeof makeHooks>;
export type HookName = keyof Hooks;

/**
 * A hook as a plugin sees it: it can be tapped and nothing else. A tap of a waterfall returns the next value, a tap that
 * only looks returns nothing (an async function there does not compile, and throws HOOK_ASYNC from JavaScript).
 */
export type Tappable<H> =
  H extends SyncBailHook<infer A, infer R>
    ? { tap(name: string, fn: (...args: A extends unknown[] ? A : never) => R | undefined): void }
    : H extends AsyncSeriesWaterfallHook<infer A extends [unknown, ...unknown[]]>
      ? {
          tap(name: string, fn: (...args: A) => A[0]): void;
          tapPromise(name: string, fn: (...args: A) => Promise<A[0]>): void;
        }
      : H extends AsyncSeriesHook<infer A extends unknown[]>
        ? {
            tap(name: string, fn: (...args: A) => undefined): void;
            tapPromise(name: string, fn: (...args: A) => Promise<void>): void;
          }
        : H extends SyncWaterfallHook<infer A extends [unknown, ...unknown[]]>
          ? { tap(name: string, fn: (...args: A) => A[0]): void }
          : H extends SyncHook<infer A extends unknown[]>
            ? { tap(name: string, fn: (...args: A) => undefined): void }
            : never;

export type PluginHooks = { readonly [N in HookName]: Tappable<Hooks[N]> };

/** Time and calls of one plugin in one hook. */
export interface TapTime {
  readonly hook: string;
  readonly plugin: string;
  calls: number;
  milliseconds: number;
}

/** One call, in milliseconds since the run's set-up began; `part` is what of the core, or which plugin. */
export interface Span {
  readonly hook: string;
  readonly part: string;
  readonly start: number;
  readonly milliseconds: number;
}

/** Spans kept; a long run's later ones are not. */
const MOST_SPANS = 200_000;

/** Keeps spans until there are too many. */
export const recordSpan = (spans: Span[], span: Span): void => {
  if (spans.length < MOST_SPANS) spans.push(span);
};

type Kind = 'waterfall' | 'bail' | 'look';
const kindOf = (hook: object): Kind =>
  hook.constructor === SyncWaterfallHook || hook.constructor === AsyncSeriesWaterfallHook
    ? 'waterfall'
    : hook.constructor === SyncBailHook
      ? 'bail'
      : 'look';

// tapable's hook classes are plain functions without a prototype: instances are told apart by their constructor.
for (const [make, Class] of [
  [() => new SyncWaterfallHook<[number]>(['x']), SyncWaterfallHook],
  [() => new AsyncSeriesWaterfallHook<[number]>(['x']), AsyncSeriesWaterfallHook],
  [() => new SyncBailHook<[number], number>(['x']), SyncBailHook],
] as const) {
  if (make().constructor !== Class) throw new Error('this version of tapable sets its hooks’ constructors otherwise than steploom expects');
}

const isThenable = (value: unknown): boolean => typeof (value as { then?: unknown } | null | undefined)?.then === 'function';

/**
 * Makes tapable's silent failures loud. Each tap is wrapped once, when it is registered: what it throws is named by
 * plugin and hook, and so is a promise in a synchronous hook, undefined out of a waterfall, and NaN.
 */
export function guardHooks(hooks: Hooks, times: TapTime[] | null, now: () => number, spans: Span[] = []): void {
  for (const [hook, tapable] of Object.entries(hooks)) {
    const kind = kindOf(tapable);
    const asynchronous = tapable.constructor === AsyncSeriesHook || tapable.constructor === AsyncSeriesWaterfallHook;
    tapable.intercept({
      register(tap) {
        const plugin = tap.name;
        const fn = tap.fn as (...args: unknown[]) => unknown;
        const named = (code: string, what: string, fix: string, cause?: unknown) =>
          new SteploomError({ code, plugin, what: `in ${hook}: ${what}`, fix }, { hook, cause });
        const thrown = (error: unknown) =>
          error instanceof SteploomError
            ? error
            : named('HOOK_THREW', error instanceof Error ? error.message : String(error), 'Its cause is attached.', error);
        const check = (value: unknown) => {
          if (kind === 'waterfall' && value === undefined)
            throw named('HOOK_UNDEFINED', 'the tap returned nothing', 'Return the value it was given, or another in its place.');
          if (typeof value === 'number' && Number.isNaN(value)) throw named('HOOK_NAN', 'the tap returned NaN', 'Return a number.');
          return value;
        };
        const promised = async (pending: unknown) => {
          try {
            return check(await pending);
          } catch (error) {
            throw thrown(error);
          }
        };
        const guarded = (a: unknown, b: unknown, c: unknown): unknown => {
          let value: unknown;
          try {
            value = fn(a, b, c);
          } catch (error) {
            throw thrown(error);
          }
          if (tap.type === 'promise') return promised(value);
          if (isThenable(value)) {
            (value as Promise<unknown>).then(undefined, () => undefined);
            throw named('HOOK_ASYNC', 'the tap returned a promise', asynchronous ? 'Use tapPromise.' : 'This hook is synchronous.');
          }
          return check(value);
        };
        if (!times) return { ...tap, fn: guarded };
        const time: TapTime = { hook, plugin, calls: 0, milliseconds: 0 };
        times.push(time);
        const timed = (a: unknown, b: unknown, c: unknown): unknown => {
          const start = now();
          time.calls++;
          const value = guarded(a, b, c);
          const end = () => {
            const milliseconds = now() - start;
            time.milliseconds += milliseconds;
            recordSpan(spans, { hook, part: plugin, start, milliseconds });
          };
          if (isThenable(value)) return (value as Promise<unknown>).finally(end);
          end();
          return value;
        };
        return { ...tap, fn: timed };
      },
    });
  }
}

/** The hooks as one plugin sees them: it taps under its own name, each hook once, and only while being set up. */
export function hooksFor(hooks: Hooks, plugin: string, isFrozen: () => boolean): PluginHooks {
  const view: Record<string, unknown> = {};
  for (const [hook, tapable] of Object.entries(hooks)) {
    let tapped = false;
    const checked = (method: 'tap' | 'tapPromise') => (name: string, fn: unknown) => {
      const refuse = (code: string, what: string, fix: string) => {
        throw new SteploomError({ code, plugin, what: `in ${hook}: ${what}`, fix }, { hook });
      };
      if (name !== plugin) refuse('TAP_NAME', `tapped as "${name}"`, `Tap under the plugin's own name, "${plugin}".`);
      if (tapped) refuse('TAP_TWICE', 'tapped a second time', 'Do both things in one tap.');
      if (isFrozen()) refuse('HOOK_FROZEN', 'tapped after set-up', 'Tap in apply().');
      tapped = true;
      (tapable as unknown as Record<string, (name: string, fn: unknown) => void>)[method](name, fn);
    };
    view[hook] =
      tapable.constructor === AsyncSeriesHook || tapable.constructor === AsyncSeriesWaterfallHook
        ? { tap: checked('tap'), tapPromise: checked('tapPromise') }
        : { tap: checked('tap') };
  }
  return view as PluginHooks;
}
