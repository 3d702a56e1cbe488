import type { Scalar, Tensor } from '@tensorflow/tfjs';
import type { Batch, Source } from '../data.js';
import { Problems, SteploomError } from '../errors.js';
import type { Run } from '../loop.js';
import type { Metrics } from '../metrics.js';
import { type Model, makeContext, type Tensors, trainablePaths, weightsOf } from '../model.js';
import { type Micro, makePlan, type Plan, type Position } from '../plan.js';
import { assemble, type Ready } from '../plugin/container.js';
import { guardHooks, hooksFor } from '../plugin/guard.js';
import { type FinishedRecord, type Hooks, type LogRecord, makeHooks, type Requests, type Sum } from '../plugin/hooks.js';
import type { AnyPlugin, Host, PluginBase } from '../plugin/plugin.js';
import {
  CLOCK,
  COLLECTIVE,
  DATA,
  DEVICE,
  type DeviceReport,
  MODEL,
  OBJECTIVE,
  OPTIMIZER,
  RANDOM,
  type Rates,
  type Role,
  type RoleName,
  type Roles,
  RUN,
  SCHEDULE,
  STORE,
  type Update,
  WINDOW,
} from '../plugin/roles.js';
import {
  allToHost,
  assignAll,
  changes,
  checkSnapshot,
  type Json,
  SNAPSHOT_VERSION,
  type Snapshot,
  type State,
  trainableVariables,
} from '../snapshot.js';
import { backward, disposeAll, isTensor, timesItems, zeroSum } from '../tape.js';
import { macrotask } from './breathe.js';
import { Loader } from './loader.js';
import { Profile } from './profile.js';

export interface SessionOptions {
  /** Time and count every tap. */
  readonly profile?: boolean;
  /** Where warnings go; console.warn by default. */
  readonly warn?: (text: string) => void;
}

const NO_REQUESTS: Requests = { stop: 0, checkpoint: 0, evaluate: 0, abandon: 0 };

/** One set-up run: everything there is before the first step, and what the loop asks for. */
export class Session implements Run {
  readonly hooks: Hooks = makeHooks();
  readonly profile: Profile | null;
  readonly ready: readonly Ready[];
  plan!: Plan;
  model!: Model;
  optimizer!: Roles['OPTIMIZER'];
  device!: DeviceReport;
  metrics: Metrics = {};
  startStep = 0;
  private readonly resolveRole: <N extends RoleName>(role: Role<N>) => Roles[N];
  private readonly hasRole: (role: Role) => boolean;
  private readonly warn: (text: string) => void;
  private source?: Source;
  /** What tells the data set from others, where a snapshot may be taken or read. */
  private content = '';
  /** All weights, and the trained ones: the variables themselves, which stay the same throughout. */
  private weights: Tensors = {};
  private trained: Tensors = {};
  private groups: string[] = [];
  private loader?: Loader;
  private asked: { -readonly [K in keyof Requests]: Requests[K] } = { ...NO_REQUESTS };
  private pendingLog: Promise<void> = Promise.resolve();
  private lastBreath = 0;
  private frozen = false;
  private disposed = false;
  /** The plugins that a plugin of the run has taken in, by its name. */
  private readonly adopted = new Map<string, PluginBase[]>();

  constructor(plugins: readonly AnyPlugin[], options: SessionOptions) {
    this.profile = options.profile ? new Profile() : null;
    this.warn = options.warn ?? ((text) => console.warn(text));
    guardHooks(this.hooks, this.profile?.timing ?? null);
    const { ready, container } = assemble(plugins);
    this.ready = ready;
    // Remembered: the container takes microseconds, and a step asks several times.
    const known = new Map<symbol, unknown>();
    this.resolveRole = <N extends RoleName>(role: Role<N>) => {
      if (!known.has(role)) known.set(role, container.resolve(role as symbol));
      return known.get(role) as Roles[N];
    };
    this.hasRole = (role) => container.isRegistered(role as symbol);
  }

  resolve<N extends RoleName>(role: Role<N>): Roles[N] {
    return this.resolveRole(role);
  }

  /** Everything up to the first step. On failure, everything set up so far is disposed. */
  async setUp(): Promise<void> {
    try {
      await this.prepare();
    } catch (error) {
      // onError is for plugins that were applied; one that fails there must not hide why the run ended.
      if (this.frozen) await this.hooks.onError.promise(error).catch(() => undefined);
      await this.dispose();
      throw error;
    }
  }

  private async prepare(): Promise<void> {
    const { hooks } = this;
    for (const { facts, plugin } of this.ready) await plugin.apply?.(this.hostFor(facts.name));
    this.frozen = true;
    const run = this.resolve(RUN);

    const early = new Problems();
    this.validateRun(run, early);
    await hooks.validate.promise(early);
    // Ranks go on together or not at all: one that skipped a step would leave the others waiting in a collective call.
    const fine = async () => (await this.resolve(COLLECTIVE).sum(early.list.length)) === 0;
    let source: Source | null = null;
    if (await fine()) {
      try {
        this.device = await this.resolve(DEVICE).setUp();
        this.source = source = await this.resolve(DATA).open(early);
        this.source = source = await hooks.prepareData.promise(source, early);
      } catch (error) {
        early.catch(error, 'SETUP_FAILED', 'core', 'Mend what it says; nothing was trained.');
      }
      if ((await fine()) && source) {
        if (this.hasRole(STORE)) this.content = (await source.fingerprint?.()) ?? '';
        await this.makePlan(source, early);
      }
    }
    await this.report(early);

    const random = this.resolve(RANDOM);
    const late = new Problems();
    this.model = await this.resolve(MODEL).build(random);
    this.model = await hooks.prepareModel.promise(this.model, late);
    this.checkModel(late);
    await this.report(late);
    this.weights = weightsOf(this.model);
    for (const path of trainablePaths(this.model)) this.trained[path] = (this.model.parameters.get(path) as { variable: Tensor }).variable;
    this.groups = [...new Set([...this.model.parameters.values()].filter((p) => p.trainable).map((p) => p.group))];
    this.optimizer = this.resolve(OPTIMIZER);
    this.optimizer.start(new Map([...this.model.parameters].filter(([, p]) => p.trainable)));

    const { rank } = this.resolve(COLLECTIVE);
    const saved = this.hasRole(STORE) && rank === 0 ? await this.resolve(STORE).read() : null;
    const shared = await hooks.shareModel.promise(saved, this.model);
    if (shared) await this.restore(shared);
  }

  private hostFor(plugin: string, owner = plugin): Host {
    const early = (what: string): never => {
      throw new SteploomError({
        code: 'TOO_EARLY',
        plugin,
        what: `${what} does not exist yet`,
        fix: 'Ask for it in a hook that comes later, such as onStart.',
      });
    };
    return {
      hooks: hooksFor(this.hooks, plugin, () => this.frozen),
      resolve: this.resolveRole,
      has: this.hasRole,
      request: (name) => this.request(name),
      model: () => this.model ?? early('the model'),
      plan: () => this.plan ?? early('the plan'),
      weights: (purpose) => this.hooks.onWeights.call({ ...this.weights }, purpose),
      evaluation: (parameters, draws) =>
        makeContext(this.model, {
          mode: 'evaluate',
          parameters,
          draw: (name, id) => this.resolve(RANDOM).item(`evaluate:${name}`, draws?.epoch ?? 0, id),
        }),
      startStep: () => this.startStep,
      isFirstRank: () => this.resolve(COLLECTIVE).rank === 0,
      adopt: async (adopted) => {
        this.adopted.set(owner, [...this.adoptedBy(owner), adopted]);
        await adopted.apply?.(this.hostFor(adopted.name, owner));
      },
      capture: async (role) => {
        const found = this.ready.find(({ facts }) => facts.fills === role);
        return found ? this.stateOf(found) : {};
      },
      warn: (what) => this.warn(`${plugin}: ${what}`),
    };
  }

  private validateRun(run: Roles['RUN'], problems: Problems): void {
    const bad = (what: string, fix: string) => problems.add('RUN_INVALID', 'run', what, fix);
    const whole = (name: 'steps' | 'epochs' | 'warmupSteps', least: number) => {
      const value = run[name];
      if (value !== undefined && (!Number.isInteger(value) || value < least))
        bad(`${name} is ${value}`, `Give a whole number, at least ${least}.`);
    };
    if (!(run.learningRate >= 0 && Number.isFinite(run.learningRate)))
      bad(`learningRate is ${run.learningRate}`, 'Give a number of at least 0.');
    if (!(run.weightDecay >= 0 && Number.isFinite(run.weightDecay)))
      bad(`weightDecay is ${run.weightDecay}`, 'Give a number of at least 0.');
    if (!Number.isSafeInteger(run.seed)) bad(`seed is ${run.seed}`, 'Give a whole number.');
    whole('steps', 1);
    whole('epochs', 1);
    whole('warmupSteps', 0);
    if (run.steps === undefined && run.epochs === undefined) {
      if (this.resolve(SCHEDULE).needsLength)
        problems.add('SCHEDULE_LENGTH_UNKNOWN', 'run', 'the schedule needs the length of the run', 'Give steps or epochs.');
      else bad('the run has no length', 'Give steps or epochs.');
    }
    const { length } = this.resolve(WINDOW);
    if (!Number.isInteger(length) || length < 1)
      problems.add('WINDOW_INVALID', 'window', `the window's length is ${length}`, 'Give a whole number, at least 1.');
    const usual = this.resolve(OPTIMIZER).usualLearningRate;
    if (usual !== undefined && run.learningRate !== usual)
      problems.warn(
        'RATE_UNUSUAL',
        'run',
        `the optimizer is usually given a learning rate of ${usual}, not ${run.learningRate}`,
        `Try ${usual}.`,
      );
  }

  private async makePlan(source: Source, problems: Problems): Promise<void> {
    const run = this.resolve(RUN);
    const collective = this.resolve(COLLECTIVE);
    try {
      this.plan = makePlan({
        ...run,
        windowLength: this.resolve(WINDOW).length,
        batchSize: source.batchSize,
        items: await collective.sum(source.items),
        worldSize: collective.worldSize,
        microBatchesPerEpoch: await collective.max(Math.ceil(source.items / source.batchSize)),
      });
    } catch (error) {
      problems.catch(error, 'PLAN_EMPTY', 'core', 'Give the data set at least one example.');
      return;
    }
    if (run.warmupSteps > this.plan.steps)
      problems.add('WARMUP_TOO_LONG', 'run', `${run.warmupSteps} warm-up steps are more than the run's ${this.plan.steps}`, 'Give fewer.');
  }

  private checkModel(problems: Problems): void {
    const groups = new Set([...this.model.parameters.values()].map((p) => p.group));
    for (const name of Object.keys(this.resolve(RUN).groups))
      if (!groups.has(name))
        problems.add('GROUP_UNKNOWN', 'run', `no parameter is in the group "${name}"`, `There are: ${[...groups].join(', ')}.`);
    if (trainablePaths(this.model).length === 0)
      problems.add('NOTHING_TO_TRAIN', 'core', 'the model has no trainable parameter', 'Add an adapter, or train the model itself.');
  }

  /** Ends every rank if one has a problem; each reports its own. */
  private async report(problems: Problems): Promise<void> {
    const count = await this.resolve(COLLECTIVE).sum(problems.list.length);
    if (problems.list.length > 0) throw new SteploomError(problems.list, { everyRank: true });
    if (count > 0)
      throw new SteploomError(
        { code: 'OTHER_RANK', plugin: 'core', what: 'another rank reported problems', fix: 'See its own message.' },
        { everyRank: true },
      );
    // Every rank finds the same.
    if (this.resolve(COLLECTIVE).rank === 0) for (const { plugin, what, fix } of problems.warnings) this.warn(`${plugin}: ${what}. ${fix}`);
  }

  request(name: keyof Requests): void {
    this.asked[name] = 1;
  }

  requests(): Requests {
    const asked = this.asked;
    this.asked = { ...NO_REQUESTS };
    return asked;
  }

  private span<T>(part: string, work: () => T): T {
    return this.profile ? this.profile.measure('core', part, work) : work();
  }

  async load(micro: Micro): Promise<Batch | null> {
    this.loader ??= new Loader(this.source as Source, this.plan, this.resolve(DEVICE));
    return this.loader.load(micro);
  }

  gradients(batch: Batch | null, micro: Micro): Sum {
    const { hooks, model } = this;
    if (!batch) return { ...zeroSum(this.trained), items: 0 };
    const random = this.resolve(RANDOM);
    const { rank, worldSize } = this.resolve(COLLECTIVE);
    const used = hooks.onBatch.call(batch, micro);
    try {
      const context = makeContext(model, {
        mode: 'train',
        parameters: this.weights,
        draw: (name, id) => random.item(name, micro.epoch, id),
        // Ranks draw differently, and one rank as ever.
        drawHere: (name) => random.micro(name, micro.step, micro.index * worldSize + rank),
      });
      const { loss, gradients } = this.span('forward and backward', () =>
        backward(
          () => hooks.onLoss.call(this.resolve(OBJECTIVE).loss(context, model, used), micro),
          this.trained,
          () => hooks.scaleLoss.call(used.items),
          hooks.onGradient.isUsed() ? (path, gradient) => hooks.onGradient.call(path, gradient, micro) : undefined,
        ),
      );
      return hooks.afterBackward.call({ gradients, loss: timesItems(loss, used.items), items: used.items }, micro);
    } finally {
      disposeAll(used.tensors);
    }
  }

  rates(step: number): Record<string, Rates> {
    const run = this.resolve(RUN);
    const rates: Record<string, Rates> = {};
    for (const group of this.groups) {
      const own = this.optimizer.groups?.[group] ?? run.groups[group];
      const baseLearningRate = own?.learningRate ?? run.learningRate;
      const multiplier = this.hooks.onSchedule.call(1, {
        step,
        group,
        warmupSteps: run.warmupSteps,
        totalSteps: this.plan.steps,
        baseLearningRate,
        metrics: this.metrics,
      });
      rates[group] = { learningRate: baseLearningRate * multiplier, weightDecay: own?.weightDecay ?? run.weightDecay };
    }
    return rates;
  }

  async log(at: Position, sum: Sum, rates: Record<string, Rates>): Promise<void> {
    const record: Record<string, number | Scalar> = { step: at.step + 1, epoch: at.epoch, loss: sum.loss.div(sum.items) as Scalar };
    const [first, ...others] = this.groups;
    record.learningRate = rates[first].learningRate;
    for (const group of others)
      if (rates[group].learningRate !== rates[first].learningRate) record[`learningRate.${group}`] = rates[group].learningRate;
    const full = await this.hooks.onLog.promise(record, at.step);
    await this.pendingLog;
    // Read back in the background: the next step starts at once, and at most one reading is under way.
    this.pendingLog = this.finish(full);
    this.pendingLog.catch(() => undefined);
  }

  private async finish(record: LogRecord): Promise<void> {
    const finished: Record<string, number | string> = {};
    await Promise.all(
      Object.entries(record).map(async ([name, value]) => {
        if (typeof value !== 'object') finished[name] = value;
        else {
          finished[name] = Number.NaN; // keeps the order of the fields
          finished[name] = (await value.data())[0];
          value.dispose();
        }
      }),
    );
    await this.hooks.onRecord.promise(finished as FinishedRecord);
  }

  async evaluate(at: Position): Promise<void> {
    await this.pendingLog;
    this.metrics = await this.hooks.onEvaluate.promise({}, at.step);
    if (Object.keys(this.metrics).length > 0) await this.hooks.onRecord.promise({ step: at.step + 1, epoch: at.epoch, ...this.metrics });
  }

  async breaksOff({ endsWindow }: Micro): Promise<boolean> {
    if (endsWindow) return false;
    await this.breathe();
    if (this.asked.stop === 0) return false;
    this.asked.abandon = 1;
    return true;
  }

  async abandon(sum: Sum & { readonly requests: Requests }, steps: number): Promise<void> {
    disposeAll(sum.gradients);
    sum.loss.dispose();
    if (sum.requests.checkpoint > 0 && steps > this.startStep) await this.checkpoint(steps);
  }

  async checkpoint(steps: number): Promise<void> {
    await this.pendingLog;
    const collective = this.resolve(COLLECTIVE);
    // Rank 0's state is everyone's. The others wait, so that none is a checkpoint's worth ahead when rank 0 fails.
    if (collective.rank === 0) await this.hooks.onCheckpoint.promise(await this.capture(steps), this.metrics);
    await collective.barrier();
  }

  /** The run as it is between steps. */
  async capture(step: number): Promise<Snapshot> {
    const { items, batchSize, windowLength, worldSize, steps, warmupSteps } = this.plan;
    const { learningRate, weightDecay, seed, groups } = this.resolve(RUN);
    const plugins: Record<string, State> = {};
    for (const entry of this.ready) if (this.hasState(entry)) plugins[entry.facts.name] = await this.stateOf(entry);
    return {
      version: SNAPSHOT_VERSION,
      step,
      seed,
      metrics: this.metrics,
      data: { items, batchSize, windowLength, worldSize, content: this.content },
      run: { learningRate, weightDecay, steps, warmupSteps, groups: groups as unknown as Json },
      parameters: await allToHost(this.trained),
      plugins,
    };
  }

  private adoptedBy(name: string): readonly PluginBase[] {
    return this.adopted.get(name) ?? [];
  }

  private hasState({ facts, plugin }: Ready): boolean {
    return [plugin, ...this.adoptedBy(facts.name)].some(({ capture }) => capture);
  }

  /** A plugin's state, and that of the plugins it has adopted as `name/key`. */
  private async stateOf({ facts, plugin }: Ready): Promise<State> {
    const state: Record<string, State[string]> = { ...(await plugin.capture?.()) };
    for (const adopted of this.adoptedBy(facts.name))
      for (const [key, value] of Object.entries((await adopted.capture?.()) ?? {})) state[`${adopted.name}/${key}`] = value;
    return state;
  }

  private async restoreState({ facts, plugin }: Ready, state: State): Promise<void> {
    let rest = state;
    for (const adopted of this.adoptedBy(facts.name)) {
      if (!adopted.restore) continue;
      const prefix = `${adopted.name}/`;
      const [own, others]: [string, State[string]][][] = [[], []];
      for (const [key, value] of Object.entries(rest)) {
        if (key.startsWith(prefix)) own.push([key.slice(prefix.length), value]);
        else others.push([key, value]);
      }
      rest = Object.fromEntries(others);
      await adopted.restore(Object.fromEntries(own));
    }
    await plugin.restore?.(rest);
  }

  private async restore(snapshot: Snapshot): Promise<void> {
    const { seed, learningRate, weightDecay, groups } = this.resolve(RUN);
    const { steps, warmupSteps } = this.plan;
    const overrides = this.hasRole(STORE) ? (this.resolve(STORE).overrides ?? []) : [];
    checkSnapshot(snapshot, { ...this.plan, seed, content: this.content }, overrides);
    const now: Snapshot['run'] = { learningRate, weightDecay, steps, warmupSteps, groups: groups as unknown as Json };
    if (this.resolve(COLLECTIVE).rank === 0) for (const change of changes(snapshot.run, now)) this.warn(`resume: ${change}`);
    const stateful = this.ready.filter((entry) => this.hasState(entry));
    const names = new Set(stateful.map(({ facts }) => facts.name));
    const missing = [...names].filter((name) => !(name in snapshot.plugins)).map((name) => `${name} has no saved state`);
    const unexpected = Object.keys(snapshot.plugins)
      .filter((name) => !names.has(name))
      .map((name) => `${name} is saved but not in this run`);
    if (missing.length + unexpected.length > 0)
      throw new SteploomError({
        code: 'SNAPSHOT_MISMATCH',
        plugin: 'core',
        what: `the snapshot's plugins differ: ${[...missing, ...unexpected].join('; ')}`,
        fix: 'Resume with the plugins that wrote it.',
      });
    assignAll('model', trainableVariables(this.model), snapshot.parameters);
    for (const entry of stateful) await this.restoreState(entry, snapshot.plugins[entry.facts.name]);
    this.startStep = snapshot.step;
    this.metrics = snapshot.metrics;
  }

  release(sum: Sum, update: Update): void {
    disposeAll(update.gradients);
    if (isTensor(update.scale)) update.scale.dispose();
    if (isTensor(update.finite)) update.finite.dispose();
    sum.loss.dispose();
  }

  /** Lets timers and signals in if 8 ms have passed: with a synchronous backend awaits alone would starve them. */
  async breathe(): Promise<void> {
    const clock = this.resolve(CLOCK);
    if (clock.now() - this.lastBreath < 8) return;
    await macrotask();
    this.lastBreath = clock.now();
  }

  /** Waits for the log's last reading. */
  async settle(): Promise<void> {
    await this.pendingLog;
  }

  /** Disposes plugins in reverse order, then the model. Every one gets its turn; the first error is thrown at the end. */
  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    const errors: unknown[] = [];
    const attempt = async (work: () => unknown) => {
      try {
        await work();
      } catch (error) {
        errors.push(error);
      }
    };
    await attempt(() => this.pendingLog);
    await attempt(() => this.loader?.drop());
    await attempt(() => this.hooks.onDispose.promise());
    for (const { facts, plugin } of [...this.ready].reverse()) {
      await attempt(() => plugin.dispose?.());
      for (const adopted of [...this.adoptedBy(facts.name)].reverse()) await attempt(() => adopted.dispose?.());
    }
    await attempt(() => this.source?.dispose?.());
    if (this.model) {
      await attempt(() => this.model.dispose?.());
      for (const { variable, lent } of this.model.parameters.values()) if (!lent && !variable.isDisposed) variable.dispose();
    }
    if (errors.length > 0) throw errors[0];
  }
}
