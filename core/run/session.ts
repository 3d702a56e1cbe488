import type { Batch } from '../data.js';
import { afterError, SteploomError } from '../errors.js';
import type { Machinery } from '../loop.js';
import type { Metrics } from '../metrics.js';
import { type Micro, type Position, positionOf } from '../plan.js';
import type { Requests, Sum } from '../plugin/hooks.js';
import { CLOCK, COLLECTIVE, DEVICE, type Rates, STORE, type Update } from '../plugin/roles.js';
import type { Snapshot } from '../snapshot.js';
import { disposeAll } from '../tape.js';
import { macrotask } from './breathe.js';
import { isBrokenOff } from './broken-off.js';
import { disposeRun } from './dispose.js';
import { History } from './history.js';
import { Loader } from './loader.js';
import { Log } from './log.js';
import type { Prepared } from './prepared.js';
import { captureRun } from './resume.js';
import { microBatchSum, ratesAt, releaseStep } from './step.js';

/** Milliseconds between two moments at which timers and signals are let in. */
const BREATH = 8;

/** A prepared run under way: what the loop asks for, and what changes from step to step. */
export class Session implements Machinery {
  readonly hooks: Prepared['hooks'];
  readonly plan: Prepared['plan'];
  readonly startStep: number;
  metrics: Metrics;
  /** What was logged. */
  readonly history = new History();
  private readonly loader: Loader;
  private readonly records: Log;
  private lastBreath = 0;
  /** Whether it is freed. */
  isDisposed = false;
  /** Steps of the run that are made, those before it was resumed with them. */
  stepsMade: number;
  /** False while an update is under way: weights and states then belong to no step. */
  private intact = true;
  /** Whether a stop broke off the evaluation after the last step: who resumes the run makes it first. */
  private evaluationDue: boolean;

  constructor(readonly prepared: Prepared) {
    const { profile } = prepared;
    this.hooks = prepared.hooks;
    this.plan = prepared.plan;
    this.evaluationDue = prepared.evaluationDue;
    this.startStep = prepared.startStep;
    this.stepsMade = prepared.startStep;
    this.metrics = prepared.metrics;
    this.loader = new Loader(prepared.source, prepared.plan, prepared.assembled.resolve(DEVICE));
    this.records = new Log(prepared.hooks, prepared.groups, this.history, profile);
  }

  load(micro: Micro): Promise<Batch | null> {
    const { profile } = this.prepared;
    const work = () => this.loader.load(micro);
    return profile ? profile.core('loading', work) : work();
  }

  /** Frees the batch that was loaded for the next step, which is another one. */
  forgetBatches(): Promise<void> {
    return this.loader.drop();
  }

  gradients(batch: Batch | null, micro: Micro): Sum {
    return microBatchSum(this.prepared, batch, micro);
  }

  rates(step: number): Record<string, Rates> {
    return ratesAt(this.prepared, step, this.metrics);
  }

  async update(update: Update, rates: Record<string, Rates>, step: number): Promise<void> {
    const { optimizer, profile, members } = this.prepared;
    this.intact = false;
    const work = () => optimizer.update(update, rates, step);
    if (profile) profile.core('optimizer', work);
    else work();
    // An optimizer may have made its state just now.
    if (step === this.startStep) members.refuseForgetfulOptimizers();
    await this.hooks.afterUpdate.promise(step);
    this.stepsMade = step + 1;
    this.intact = true;
  }

  requests(): Requests {
    return this.prepared.requests.take();
  }

  log(at: Position, sum: Sum, rates: Record<string, Rates>): Promise<void> {
    return this.records.step(at, sum, rates);
  }

  async begin(): Promise<boolean> {
    await this.hooks.onStart.promise(this.plan);
    return this.evaluationDue ? this.evaluate(positionOf(this.plan, this.startStep - 1)) : this.stopAgreed();
  }

  async evaluate(at: Position): Promise<boolean> {
    await this.records.settled();
    try {
      this.metrics = await this.hooks.onEvaluate.promise({}, at.step);
    } catch (error) {
      // Every rank breaks off, or none.
      if (!isBrokenOff(error)) throw error;
      this.evaluationDue = true;
      return true;
    }
    this.evaluationDue = false;
    if (Object.keys(this.metrics).length > 0) await this.records.told({ step: at.step + 1, epoch: at.epoch, ...this.metrics });
    return this.stopAgreed();
  }

  /** Whether any rank was asked to stop. A collective call, so that all know the same. */
  private async stopAgreed(): Promise<boolean> {
    const { assembled, requests } = this.prepared;
    return (await assembled.resolve(COLLECTIVE).sum(requests.isAsked('stop') ? 1 : 0)) > 0;
  }

  async checkpoint(steps: number): Promise<void> {
    await this.records.settled();
    const collective = this.prepared.assembled.resolve(COLLECTIVE);
    const isFirst = collective.rank === 0;
    const whole = await this.hooks.beforeCheckpoint.promise(isFirst ? await this.capture(steps) : null);
    // Rank 0's state is everyone's. The others wait, so that none has gone on by a checkpoint's worth when rank 0 fails.
    if (isFirst && whole) await this.hooks.onCheckpoint.promise(whole, this.metrics);
    await collective.barrier();
  }

  /**
   * After an error: saves what the last finished step left, where there is a store and a step to save, and says where it is kept. Where every
   * rank has the error, rank 0 does; else the rank that has it, since the others may wait for it and are ended with it.
   */
  async rescue(error: unknown): Promise<void> {
    const { resolve, has } = this.prepared.assembled;
    const everyRank = error instanceof SteploomError && error.everyRank;
    if (!has(STORE) || (everyRank && resolve(COLLECTIVE).rank !== 0)) return;
    const { stepsMade } = this;
    const sayWhere = (saved: boolean): void => {
      const where = resolve(STORE).kept?.() ?? null;
      if (saved) this.prepared.warn(`core: what the run had learnt after step ${stepsMade} is kept${where ? ` in ${where}` : ''}`);
      else if (where) this.prepared.warn(`core: the last checkpoint is ${where}`);
    };
    // What other ranks alone hold cannot be asked for: they may be anywhere.
    const isPart = this.hooks.beforeCheckpoint.taps.length > 0 && resolve(COLLECTIVE).worldSize > 1;
    if (!this.intact || stepsMade === this.startStep || isPart) return sayWhere(false);
    try {
      await this.hooks.onCheckpoint.promise(await this.capture(stepsMade), this.metrics);
    } catch (second) {
      throw await afterError(second, () => sayWhere(false));
    }
    sayWhere(true);
  }

  /** The run as it is between steps, with so many made. */
  capture(steps: number): Promise<Snapshot> {
    return captureRun(this.prepared, steps, this.metrics, this.evaluationDue);
  }

  async breaksOff({ endsWindow }: Micro): Promise<boolean> {
    if (endsWindow) return false;
    await this.breathe();
    const { requests } = this.prepared;
    if (!requests.isAsked('stop')) return false;
    requests.ask('abandon');
    return true;
  }

  async abandon(sum: Sum & { readonly requests: Requests }, steps: number): Promise<void> {
    disposeAll(sum.gradients);
    sum.loss.dispose();
    if (sum.requests.checkpoint > 0 && steps > this.startStep) await this.checkpoint(steps);
  }

  release(sum: Sum, update: Update): void {
    releaseStep(sum, update);
  }

  /** Lets timers and signals in if 8 ms have passed: with a synchronous backend awaits alone would starve them. */
  async breathe(): Promise<void> {
    const clock = this.prepared.assembled.resolve(CLOCK);
    if (clock.now() - this.lastBreath < BREATH) return;
    await macrotask();
    this.lastBreath = clock.now();
  }

  /** Waits until the last step that was logged has reached onRecord. */
  settled(): Promise<void> {
    return this.records.settled();
  }

  /** Frees everything, once. Every part gets its turn; the first error is thrown at the end. */
  async dispose(): Promise<void> {
    if (this.isDisposed) return;
    this.isDisposed = true;
    await disposeRun(this.prepared, [() => this.records.settled(), () => this.forgetBatches()]);
  }
}
