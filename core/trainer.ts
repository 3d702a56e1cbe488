import { fail } from './errors.js';
import { loop } from './loop.js';
import type { Metrics } from './metrics.js';
import { Composition } from './plugin/compose.js';
import { type Explanation, explainSession } from './plugin/explain.js';
import type { Requests } from './plugin/hooks.js';
import type { AnyPlugin } from './plugin/plugin.js';
import type { Span, TapTime } from './run/profile.js';
import { Session, type SessionOptions } from './run/session.js';
import type { Snapshot } from './snapshot.js';

export interface Result {
  /** Steps made, counted from the run's beginning. */
  readonly step: number;
  /** True where the run ended on request, before its plan did. */
  readonly stopped: boolean;
  readonly metrics: Metrics;
  /** Time and calls per hook and plugin, with `profile`. */
  readonly profile?: readonly TapTime[];
  /** The calls themselves, the first 200,000 of them. */
  readonly spans?: readonly Span[];
}

/** One run of a composition of plugins. Set-up happens once, whoever asks first. */
export class Trainer {
  private readonly plugins: readonly AnyPlugin[];
  private readonly options: SessionOptions;
  private session?: Promise<Session>;
  private current?: Session;
  private readonly early = new Set<keyof Requests>();
  private started = false;

  constructor(plugins: Composition | readonly AnyPlugin[], options: SessionOptions = {}) {
    this.plugins = plugins instanceof Composition ? plugins.plugins : plugins;
    this.options = options;
  }

  private setUp(): Promise<Session> {
    this.session ??= (async () => {
      const session = new Session(this.plugins, this.options);
      await session.setUp();
      this.current = session;
      for (const name of this.early) session.request(name);
      return session;
    })();
    return this.session;
  }

  /** The hooks with their taps in order, and the plan. Sets up, trains nothing; call train() or dispose() afterwards. */
  async explain(): Promise<Explanation> {
    return explainSession(await this.setUp());
  }

  /** Asks for a stop, a checkpoint or an evaluation after the current step. */
  request(name: keyof Requests): void {
    if (this.current) this.current.request(name);
    else this.early.add(name);
  }

  /**
   * Trains to the end of the plan, or until stopped. Aborting `signal` asks for a stop after the current step.
   * Everything is disposed afterwards, whatever happened; a Trainer trains once.
   */
  async train({ signal }: { signal?: AbortSignal } = {}): Promise<Result> {
    if (this.started) fail('TRAINED_TWICE', 'core', 'this Trainer has trained already', 'One Trainer is one run: make another.');
    this.started = true;
    const stop = () => this.request('stop');
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop);
    try {
      const session = await this.setUp();
      try {
        const { step, stopped } = await loop(session);
        await session.settle();
        return {
          step,
          stopped,
          metrics: session.metrics,
          ...(session.profile ? { profile: session.profile.times, spans: session.profile.spans } : {}),
        };
      } catch (error) {
        await session.hooks.onError.promise(error);
        throw error;
      }
    } finally {
      signal?.removeEventListener('abort', stop);
      await this.dispose();
    }
  }

  /** A snapshot of the run as it stands; only between set-up and training, or from a hook between steps. */
  async snapshot(): Promise<Snapshot> {
    const session = await this.setUp();
    return session.capture(session.startStep);
  }

  /** Frees everything; for a run that was explained but not trained. */
  async dispose(): Promise<void> {
    const session = await this.session?.catch(() => undefined);
    await session?.dispose();
  }
}
