import { fail } from '../errors.js';
import type { Forecast } from '../forecast.js';
import { type Model, makeContext, weightsOf } from '../model.js';
import type { Plan } from '../plan.js';
import type { Assembled } from '../plugin/container.js';
import { hooksFor } from '../plugin/guard.js';
import type { Hooks } from '../plugin/hooks.js';
import type { Host, PluginBase } from '../plugin/plugin.js';
import { COLLECTIVE, RANDOM } from '../plugin/roles.js';
import { brokenOff } from './broken-off.js';
import type { Members } from './members.js';
import type { PendingRequests } from './requests.js';

/** What hosts speak of. Model and plan are asked for when a plugin asks: they come into being during set-up. */
export interface HostContext {
  readonly hooks: Hooks;
  readonly assembled: Assembled;
  readonly members: Members;
  readonly requests: PendingRequests;
  readonly warn: (text: string) => void;
  readonly written: Set<string>;
  isFrozen(): boolean;
  model(): Model | null;
  plan(): Plan | null;
  forecast(): Forecast | null;
  startStep(): number;
  runId(): string;
}

/** The host of one plugin, by its name; `owner` names the plugin of the run that has adopted it, or itself. */
export function hostFor(run: HostContext, plugin: string, instance: PluginBase, owner = plugin): Host {
  const { resolve, has } = run.assembled;
  const early = (what: string): never =>
    fail('TOO_EARLY', plugin, `${what} does not exist yet`, 'Ask for it in a hook that comes later, such as onStart.');
  const model = () => run.model() ?? early('the model');
  return {
    hooks: hooksFor(run.hooks, plugin, run.isFrozen, (hook) => run.members.taps(hook, instance)),
    resolve,
    has,
    model,
    request: (name) => run.requests.ask(name),
    stopAsked: () => run.requests.stopAsked,
    breakOffEvaluation: () => {
      throw brokenOff(plugin);
    },
    plan: () => run.plan() ?? early('the plan'),
    weights: (purpose) => run.hooks.onWeights.call(weightsOf(model()), purpose),
    evaluation: (parameters, draws) =>
      makeContext(model(), {
        mode: 'evaluate',
        parameters,
        draw: (name, id) => resolve(RANDOM).item(`evaluate:${name}`, draws?.epoch ?? 0, id),
      }),
    forecast: run.forecast,
    startStep: run.startStep,
    runId: run.runId,
    metrics: () => run.members.metrics(),
    isFirstRank: () => resolve(COLLECTIVE).rank === 0,
    async adopt(adopted: PluginBase) {
      run.members.adopt(owner, adopted);
      await adopted.apply?.(hostFor(run, adopted.name, adopted, owner));
    },
    async capture(role) {
      const member = run.members.filling(role);
      return member ? run.members.capture(member) : {};
    },
    wrote: (path) => void run.written.add(path),
    warn: (what) => run.warn(`${plugin}: ${what}`),
  };
}
