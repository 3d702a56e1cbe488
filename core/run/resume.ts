import { SteploomError } from '../errors.js';
import type { Metrics } from '../metrics.js';
import type { Model } from '../model.js';
import type { Plan } from '../plan.js';
import type { Assembled, Resolve } from '../plugin/container.js';
import { COLLECTIVE, OPTIMIZER, RUN, STORE } from '../plugin/roles.js';
import {
  allToHost,
  assignAll,
  changes,
  compareSnapshot,
  type Json,
  type Settings,
  SNAPSHOT_VERSION,
  type Snapshot,
  type State,
  trainableVariables,
} from '../snapshot.js';
import type { Members } from './members.js';
import type { Prepared } from './prepared.js';

/** What a resumed run may change, as snapshots hold it. */
function changeable(resolve: Resolve, { steps, warmupSteps }: Plan): Snapshot['run'] {
  const { learningRate, weightDecay, groups } = resolve(RUN);
  const all = { ...groups, ...resolve(OPTIMIZER).groups };
  return { learningRate, weightDecay, steps, warmupSteps, groups: all as unknown as Json };
}

/** The run as it is between steps, with so many steps made. */
export async function captureRun(
  { assembled, members, plan, trained, content, runId }: Prepared,
  step: number,
  metrics: Metrics,
  evaluationDue: boolean,
): Promise<Snapshot> {
  const { items, batchSize, windowLength, worldSize } = plan;
  const plugins: Record<string, State> = {};
  for (const member of members.stateful()) plugins[member.facts.name] = await members.capture(member);
  return {
    version: SNAPSHOT_VERSION,
    runId,
    step,
    seed: assembled.resolve(RUN).seed,
    metrics,
    ...(evaluationDue ? { evaluationDue: true as const } : {}),
    data: { items, batchSize, windowLength, worldSize, content },
    run: changeable(assembled.resolve, plan),
    settings: await members.settings(),
    parameters: await allToHost(trained),
    plugins,
  };
}

/** Puts a snapshot's weights and plugins' states back, strictly; what the run changes is said. */
export async function restoreRun(
  snapshot: Snapshot,
  run: {
    readonly assembled: Assembled;
    readonly members: Members;
    readonly plan: Plan;
    readonly model: Model;
    readonly content: string;
    readonly warn: (text: string) => void;
  },
): Promise<void> {
  const { resolve, has } = run.assembled;
  const overrides = has(STORE) ? (resolve(STORE).overrides ?? []) : [];
  const stateful = run.members.stateful();
  const names = new Set(stateful.map(({ facts }) => facts.name));
  const saved = Object.keys(snapshot.plugins);
  const [lacking, unexpected] = [[...names].filter((name) => !saved.includes(name)), saved.filter((name) => !names.has(name))];
  // Plugins that are on one side only are named as such, below, rather than option by option.
  const compared = (settings: Readonly<Record<string, Settings>>) =>
    Object.fromEntries(Object.entries(settings).filter(([name]) => !lacking.includes(name) && !unexpected.includes(name)));
  const { refused, meant } = compareSnapshot(
    { ...snapshot, ...(snapshot.settings ? { settings: compared(snapshot.settings) } : {}) },
    { ...run.plan, seed: resolve(RUN).seed, content: run.content, settings: compared(await run.members.settings()) },
    overrides,
  );
  if (lacking.length + unexpected.length > 0)
    refused.push({
      code: 'SNAPSHOT_MISMATCH',
      plugin: 'core',
      what: `the snapshot's plugins differ: ${[
        ...lacking.map((name) => `${name} has no saved state`),
        ...unexpected.map((name) => `${name} is saved but not in this run`),
      ].join('; ')}`,
      fix: 'Resume with the plugins that wrote it.',
    });
  if (refused.length > 0) throw new SteploomError(refused);
  if (resolve(COLLECTIVE).rank === 0)
    for (const change of [...changes(snapshot.run, changeable(resolve, run.plan)), ...meant]) run.warn(`resume: ${change}`);
  assignAll('model', trainableVariables(run.model), snapshot.parameters);
  for (const member of stateful) await run.members.restore(member, snapshot.plugins[member.facts.name]);
}
