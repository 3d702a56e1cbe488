import { afterError, fail } from './errors.js';
import { loop } from './loop.js';
import type { Metrics } from './metrics.js';
import { Composition } from './plugin/compose.js';
import type { Requests } from './plugin/hooks.js';
import type { AnyPlugin } from './plugin/plugin.js';
import { DEVICE } from './plugin/roles.js';
import { type Explanation, explainRun } from './run/explain.js';
import { prepare } from './run/prepare.js';
import type { SessionOptions } from './run/prepared.js';
import type { Span, TapTime } from './run/profile.js';
import { PendingRequests } from './run/requests.js';
import { Session } from './run/session.js';
import type { Snapshot } from './snapshot.js';

export interface Result {
  /** Steps made, counted from the run's beginning. */
  readonly step: number;
  /** True where the run ended on request, before its plan did. */
  readonly stopped: boolean;
  /** True where it was stopped from outside: by a signal, a page or the caller, not by a plugin that had seen enough (early stopping). */
  readonly asked: boolean;
  readonly metrics: Metrics;
  /** Time and calls per hook and plugin, with `profile`. */
  readonly profile?: readonly TapTime[];
  /** The calls themselves, the first 200,000 of them. */
  readonly spans?: readonly Span[];
}

/** One run of a composition of plugins. Set-up happens once, whoever asks first. */
export class Trainer {
  private readonly plugins: readonly AnyPlugin[];
  private readonly requests = new PendingRequests();
  private session?: Promise<Session>;
  private started = false;
  private running?: Session;

  constructor(
    plugins: Composition | readonly AnyPlugin[],
    private readonly options: SessionOptions = {},
  ) {
    this.plugins = plugins instanceof Composition ? plugins.plugins : plugins;
  }

  private setUp(): Promise<Session> {
    this.session ??= prepare(this.plugins, this.options, this.requests).then((prepared) => new Session(prepared));
    return this.session;
  }

  /** The hooks with their taps in order, and the plan. Sets up, trains nothing; call train() or dispose() afterwards. */
  async explain(): Promise<Explanation> {
    return explainRun((await this.setUp()).prepared);
  }

  /** Asks for a stop, a checkpoint or an evaluation after the current step. */
  request(name: keyof Requests): void {
    this.requests.ask(name);
  }

  /**
   * Trains to the end of the plan, or until stopped. Aborting `signal` asks for a stop after the current step.
   * Everything is disposed afterwards, whatever happened; a Trainer trains once. After an error between steps what the last finished step left
   * is saved first, where the run has a store. What goes wrong while a run that failed is ended is
   * attached to the error that it failed with, as `later`.
   */
  async train({ signal }: { signal?: AbortSignal } = {}): Promise<Result> {
    if (this.started) fail('TRAINED_TWICE', 'core', 'this Trainer has trained already', 'One Trainer is one run: make another.');
    this.started = true;
    const stop = () => this.request('stop');
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop);
    try {
      const session = await this.setUp();
      this.running = session;
      const result = await this.run(session).catch(async (thrown: unknown) => {
        const error = session.prepared.assembled.resolve(DEVICE).inWords?.(thrown) ?? thrown;
        let first = await afterError(error, () => session.rescue(error));
        first = await afterError(first, () => session.hooks.onError.promise(error));
        throw await afterError(first, () => session.dispose());
      });
      await session.dispose();
      return result;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  private async run(session: Session): Promise<Result> {
    const { step, stopped } = await loop(session);
    await session.settled();
    const { profile } = session.prepared;
    const asked = stopped && this.requests.stopAsked;
    return { step, stopped, asked, metrics: session.metrics, ...(profile ? { profile: profile.times, spans: profile.spans } : {}) };
  }

  /** A snapshot of the run as it stands; only between set-up and training, or from a hook between steps. */
  async snapshot(): Promise<Snapshot> {
    const session = await this.setUp();
    return session.capture(session.startStep);
  }

  /** Steps that this Trainer has made, in a run that failed as well. */
  get stepsMade(): number {
    return this.running ? this.running.stepsMade - this.running.startStep : 0;
  }

  /** Frees everything; for a run that was explained but not trained. */
  async dispose(): Promise<void> {
    const session = await this.session?.catch(() => undefined);
    await session?.dispose();
  }
}
