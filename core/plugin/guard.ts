import type { ErrorCode } from '../error-codes.js';
import { fail, messageOf, SteploomError } from '../errors.js';
import type { Tensor } from '../tf.js';
import { type HookName, type Hooks, isAsynchronous, kindOf, type PluginHooks } from './hooks.js';

/** Runs a tap's calls and notes how long each takes. */
export type Timing = (hook: string, plugin: string, call: (...args: unknown[]) => unknown) => (...args: unknown[]) => unknown;

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === 'function';

const isPlain = (value: object): boolean => Object.getPrototypeOf(value) === Object.prototype;

/** Where in what a tap hands on a disposed tensor stands: at most two levels down, as in a batch or a sum. On the hot path. */
function disposedIn(value: unknown, depth = 2): string | null {
  if (typeof value !== 'object' || value === null) return null;
  if ((value as Partial<Tensor>).isDisposed === true) return 'the tensor';
  if (depth === 0 || !isPlain(value)) return null;
  for (const name in value) {
    const found = disposedIn((value as Record<string, unknown>)[name], depth - 1);
    if (found) return found === 'the tensor' ? name : `${name}.${found}`;
  }
  return null;
}

/**
 * Makes tapable's silent failures loud. Each tap is wrapped once, when it is registered: what it throws is named by plugin and hook, and
 * so is a promise in a synchronous hook, undefined, NaN or a disposed tensor out of a waterfall.
 */
export function guardHooks(hooks: Hooks, timing: Timing | null): void {
  for (const [hook, tapable] of Object.entries(hooks)) {
    const kind = kindOf(tapable);
    const asynchronous = isAsynchronous(tapable);
    tapable.intercept({
      register(tap) {
        const plugin = tap.name;
        const fn = tap.fn as (...args: unknown[]) => unknown;
        const named = (code: ErrorCode, what: string, fix: string, cause?: unknown) =>
          new SteploomError({ code, plugin, what: `in ${hook}: ${what}`, fix }, { hook, cause });
        const thrown = (error: unknown) =>
          error instanceof SteploomError ? error : named('HOOK_THREW', messageOf(error), 'Its cause is attached.', error);
        const check = (value: unknown) => {
          if (kind !== 'waterfall') return value;
          if (value === undefined)
            throw named('HOOK_UNDEFINED', 'the tap returned nothing', 'Return the value it was given, or another in its place.');
          if (typeof value === 'number' && Number.isNaN(value)) throw named('HOOK_NAN', 'the tap returned NaN', 'Return a number.');
          const disposed = disposedIn(value);
          if (disposed)
            throw named(
              'TENSOR_DISPOSED',
              `${disposed} was disposed before it was handed on`,
              'Dispose only what you put another in the place of.',
            );
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
            value.then(undefined, () => undefined);
            throw named('HOOK_ASYNC', 'the tap returned a promise', asynchronous ? 'Use tapPromise.' : 'This hook is synchronous.');
          }
          return check(value);
        };
        return { ...tap, fn: timing ? timing(hook, plugin, guarded as (...args: unknown[]) => unknown) : guarded };
      },
    });
  }
}

/**
 * The hooks as one plugin sees them: it taps under its own name, each hook once, and only while being set up. `onTap` is told of each hook that
 * it taps.
 */
export function hooksFor(hooks: Hooks, plugin: string, isFrozen: () => boolean, onTap: (hook: HookName) => void): PluginHooks {
  const view: Record<string, unknown> = {};
  for (const [hook, tapable] of Object.entries(hooks)) {
    let tapped = false;
    const checked =
      (method: 'tap' | 'tapPromise') =>
      (...given: readonly [string, unknown] | readonly [unknown]) => {
        const refuse = (code: ErrorCode, what: string, fix: string) => {
          throw new SteploomError({ code, plugin, what: `in ${hook}: ${what}`, fix }, { hook });
        };
        const [name, fn] = given.length === 1 ? [plugin, given[0]] : given;
        if (name !== plugin) refuse('TAP_NAME', `tapped as "${name}"`, `Tap under the plugin's own name, "${plugin}", or without a name.`);
        if (tapped) refuse('TAP_TWICE', 'tapped a second time', 'Do both things in one tap.');
        if (isFrozen()) refuse('HOOK_FROZEN', 'tapped after set-up', 'Tap in apply().');
        tapped = true;
        (tapable as unknown as Record<string, (name: string, fn: unknown) => void>)[method](plugin, fn);
        onTap(hook as HookName);
      };
    view[hook] = isAsynchronous(tapable) ? { tap: checked('tap'), tapPromise: checked('tapPromise') } : { tap: checked('tap') };
  }
  return new Proxy(view, {
    get: (known, hook) =>
      known[hook as HookName] ??
      (typeof hook === 'symbol' || hook === 'then'
        ? undefined
        : fail('HOOK_UNKNOWN', plugin, `there is no hook ${hook}`, `There are: ${Object.keys(known).join(', ')}.`)),
  }) as PluginHooks;
}
