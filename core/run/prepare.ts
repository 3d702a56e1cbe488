import { microBatchesOf, type Source } from '../data.js';
import { afterError, fail, Problems, printable } from '../errors.js';
import type { Forecast } from '../forecast.js';
import { type Model, trainablePaths, weightsOf } from '../model.js';
import { makePlan, type Plan } from '../plan.js';
import { type Assembled, assemble } from '../plugin/container.js';
import { guardHooks } from '../plugin/guard.js';
import { type Hooks, makeHooks } from '../plugin/hooks.js';
import type { AnyPlugin } from '../plugin/plugin.js';
import {
  COLLECTIVE,
  DATA,
  DEVICE,
  type DeviceReport,
  MODEL,
  OPTIMIZER,
  type Optimizer,
  RANDOM,
  RUN,
  STORE,
  WINDOW,
} from '../plugin/roles.js';
import { checkMemory } from './check-memory.js';
import { checkModel, checkPlan, checkRun, reportProblems } from './checks.js';
import { disposeRun } from './dispose.js';
import { type HostContext, hostFor } from './host.js';
import { Members } from './members.js';
import type { Prepared, SessionOptions } from './prepared.js';
import { Profile } from './profile.js';
import type { PendingRequests } from './requests.js';
import { restoreRun } from './resume.js';

/** Sets a run up. On failure, onError is called and everything set up so far is disposed. */
export async function prepare(plugins: readonly AnyPlugin[], options: SessionOptions, requests: PendingRequests): Promise<Prepared> {
  const hooks = makeHooks();
  const profile = options.profile ? new Profile() : null;
  guardHooks(hooks, profile?.timing ?? null);
  const assembled = assemble(plugins);
  const members = new Members(assembled.ready);
  const warn = options.warn ?? ((text: string) => console.warn(printable(text)));
  let [source, plan, model]: [Source | null, Plan | null, Model | null] = [null, null, null];
  let startStep = 0;
  let forecast: Forecast | null = null;
  let runId = options.runId ?? newRunId();
  let frozen = false;
  const written = new Set<string>();
  const context: HostContext = {
    hooks,
    assembled,
    members,
    requests,
    warn,
    written,
    isFrozen: () => frozen,
    model: () => model,
    plan: () => plan,
    forecast: () => forecast,
    startStep: () => startStep,
    runId: () => runId,
  };
  const { resolve, has, ready } = assembled;
  try {
    for (const { facts, plugin } of ready) await plugin.apply?.(hostFor(context, facts.name, plugin));
    frozen = true;
    const collective = resolve(COLLECTIVE);

    const early = new Problems();
    checkRun(resolve, early);
    await hooks.validate.promise(early);
    // Ranks go on together or not at all: one that skipped a step would leave the others waiting in a collective call.
    const fine = async () => (await collective.sum(early.list.length)) === 0;
    let device: DeviceReport | null = null;
    let content = '';
    if (await fine()) {
      try {
        device = await resolve(DEVICE).setUp();
        source = await resolve(DATA).open(early);
        source = await hooks.prepareData.promise(source, early);
      } catch (error) {
        early.catch(error, 'SETUP_FAILED', 'core', 'Mend what it says; nothing was trained.');
      }
      if ((await fine()) && source) {
        if (has(STORE)) content = (await source.fingerprint?.()) ?? '';
        plan = await planFor(assembled, source, early);
      }
    }
    await reportProblems(early, collective, warn);
    if (!device || !source || !plan) fail('SETUP_FAILED', 'core', 'the data set was not opened, and nobody said why', 'Report it.');

    const late = new Problems();
    model = await resolve(MODEL).build(resolve(RANDOM));
    model = await hooks.prepareModel.promise(model, late);
    checkModel(model, resolve, late);
    await reportProblems(late, collective, warn);
    const optimizer = startOptimizer(assembled, hooks, members, model);
    const saved = has(STORE) && collective.rank === 0 ? await resolve(STORE).read() : null;
    const snapshot = await hooks.shareModel.promise(saved, model);
    if (snapshot) await restoreRun(snapshot, { assembled, members, plan, model, content, warn });
    // Plugins have made and restored what they keep.
    const memory = new Problems();
    forecast = checkMemory({ assembled, model, optimizer, plan, source, limits: device.limits ?? {} }, memory);
    await reportProblems(memory, collective, warn);
    startStep = snapshot?.step ?? 0;
    runId = snapshot?.runId ?? runId;

    const trainable = [...model.parameters].filter(([, p]) => p.trainable);
    return Object.freeze({
      hooks,
      profile,
      assembled,
      members,
      requests,
      warn,
      written,
      device,
      source,
      content,
      plan,
      model,
      optimizer,
      forecast,
      weights: weightsOf(model),
      trained: Object.fromEntries(trainable.map(([path, { variable }]) => [path, variable])),
      groups: [...new Set(trainable.map(([, { group }]) => group))],
      runId,
      startStep,
      metrics: snapshot?.metrics ?? {},
      evaluationDue: snapshot?.evaluationDue === true,
    });
  } catch (error) {
    // For plugins that were applied.
    const first = frozen ? await afterError(error, () => hooks.onError.promise(error)) : error;
    throw await afterError(first, () => disposeRun({ hooks, members, source, model }));
  }
}

/** Counts the run out over all ranks; null where there is nothing to train on, which is then among the problems. */
async function planFor({ resolve }: Assembled, source: Source, problems: Problems): Promise<Plan | null> {
  const run = resolve(RUN);
  const collective = resolve(COLLECTIVE);
  try {
    const plan = makePlan({
      ...run,
      windowLength: resolve(WINDOW).length,
      batchSize: source.batchSize,
      items: await collective.sum(source.items),
      worldSize: collective.worldSize,
      microBatchesPerEpoch: await collective.max(microBatchesOf(source, 0).count),
    });
    checkPlan(plan, problems);
    return plan;
  } catch (error) {
    problems.catch(error, 'PLAN_EMPTY', 'core', 'Give the data set at least one example.');
    return null;
  }
}

/** Tells the optimizer what it trains. */
function startOptimizer({ resolve }: Assembled, hooks: Hooks, members: Members, model: Model): Optimizer {
  const optimizer = resolve(OPTIMIZER);
  const paths = new Set(trainablePaths(model));
  const trained = new Map([...model.parameters].filter(([path]) => paths.has(path)));
  optimizer.start(hooks.prepareOptimizer.call(trained), trained);
  members.refuseForgetfulOptimizers();
  return optimizer;
}

/** A name that no other run has. (crypto.randomUUID is not there on pages without TLS.) */
const newRunId = (): string => Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('');
