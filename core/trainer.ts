import { afterError, fail } from './errors.js';
import { loop } from './loop.js';
import type { Metrics } from './metrics.js';
import { Composition } from './plugin/compose.js';
import type { FinishedRecord, Requests } from './plugin/hooks.js';
import type { AnyPlugin } from './plugin/plugin.js';
import { DEVICE, EVALUATION, PICTURES, type Role, type RoleName, type Roles } from './plugin/roles.js';
import { type Explanation, explainRun } from './run/explain.js';
import { type BatchSizeOptions, type BatchSizes, findBatchSize } from './run/find-batch-size.js';
import { findLearningRate, type LearningRateOptions, type LearningRates } from './run/find-learning-rate.js';
import type { Extremes } from './run/history.js';
import { prepare } from './run/prepare.js';
import type { SessionOptions } from './run/prepared.js';
import type { Span, TapTime } from './run/profile.js';
import { PendingRequests } from './run/requests.js';
import { Session } from './run/session.js';
import type { Snapshot, TensorData } from './snapshot.js';

export interface Result {
  /** Steps made, counted from the run's beginning. */
  readonly step: number;
  /** True where the run ended on request, before its plan did. */
  readonly stopped: boolean;
  /** True where it was stopped from outside: by a signal, a page or the caller, not by a plugin that had seen enough (early stopping). */
  readonly asked: boolean;
  /** Of the last evaluation; none where nothing was evaluated. */
  readonly metrics: Metrics;
  /** The best values so far, least and largest, of evaluations' metrics and of the loss, each with its step; of a resumed run those since then. */
  readonly best: Readonly<Record<string, Extremes>>;
  /** Every record that was logged, in order; of more than 50,000 steps that were logged every second is kept, or fewer. A resumed run's begin where it went on. */
  readonly history: readonly FinishedRecord[];
  /** Files and folders that were written, as plugins named them. */
  readonly written: readonly string[];
  /** How long it took from the end of set-up. */
  readonly seconds: number;
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
   *
   * With `keep` nothing is disposed after a run that has ended well, so that evaluate() and sample() work with what it has learnt: call dispose() then.
   */
  async train({ signal, keep = false }: { signal?: AbortSignal; keep?: boolean } = {}): Promise<Result> {
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
      if (!keep) await session.dispose();
      return result;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  private async run(session: Session): Promise<Result> {
    const began = performance.now();
    const { step, stopped } = await loop(session);
    await session.settled();
    const seconds = (performance.now() - began) / 1000;
    const { metrics, history } = session;
    const { profile, written } = session.prepared;
    const asked = stopped && this.requests.stopAsked;
    const found = { metrics, best: history.best, history: history.records, written: [...written], seconds };
    return { step, stopped, asked, ...found, ...(profile ? { profile: profile.times, spans: profile.spans } : {}) };
  }

  /**
   * The metrics of the data that is held out, outside of training: before it, of a run that is resumed for this alone, or after train({ keep: true }).
   * Nothing is logged, and no plugin counts it. Needs a plugin that fills EVALUATION, as evaluation() does.
   */
  async evaluate(): Promise<Metrics> {
    return (await this.filling(EVALUATION, 'evaluation()')).evaluate();
  }

  /**
   * Draws prompts, or those of the plugin that fills PICTURES, as samples() does: pictures [n, height, width, 3] from 0 to 1. Before training, or
   * after train({ keep: true }).
   */
  async sample(prompts?: readonly string[]): Promise<TensorData> {
    return (await this.filling(PICTURES, 'samples()')).draw(prompts);
  }

  /**
   * A range test of learning rates on the first steps of the run, before it is trained: weights, the states of plugins and what is drawn at random are as
   * before afterwards, bit for bit. Of several processes each calls it.
   */
  async findLearningRate(options: LearningRateOptions = {}): Promise<LearningRates> {
    return findLearningRate(await this.beforeTraining(), options);
  }

  /**
   * The largest microBatch that fits into the device's memory, by trying, before the run is trained; everything is as before afterwards. Of several processes
   * each calls it.
   */
  async findBatchSize(options: BatchSizeOptions = {}): Promise<BatchSizes> {
    return findBatchSize((await this.beforeTraining()).prepared, options);
  }

  private async beforeTraining(): Promise<Session> {
    if (this.started)
      fail('TRAINED_TWICE', 'core', 'this Trainer has trained already', 'Look for it before train(), or with another Trainer.');
    return this.setUp();
  }

  private async filling<N extends RoleName>(role: Role<N>, plugin: string): Promise<Roles[N]> {
    const session = await this.setUp();
    if (session.isDisposed)
      fail(
        'TRAINED_TWICE',
        'core',
        'this Trainer has trained already, and its model is freed',
        'Call train({ keep: true }), and dispose() last.',
      );
    const { has, resolve } = session.prepared.assembled;
    if (!has(role)) fail('ROLE_MISSING', 'core', `no plugin fills the role ${String(role.description)}`, `Add ${plugin}.`);
    return resolve(role);
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

  /** Frees everything; for a run that was explained but not trained, or kept. */
  async dispose(): Promise<void> {
    const session = await this.session?.catch(() => undefined);
    await session?.dispose();
  }
}
