import { fail } from '../errors.js';
import { type Model, makeContext, weightsOf } from '../model.js';
import type { Plan } from '../plan.js';
import type { Assembled } from '../plugin/container.js';
import { hooksFor } from '../plugin/guard.js';
import type { Hooks } from '../plugin/hooks.js';
import type { Host, PluginBase } from '../plugin/plugin.js';
import { COLLECTIVE, RANDOM } from '../plugin/roles.js';
import type { Members } from './members.js';
import type { PendingRequests } from './requests.js';

/** What hosts speak of. Model and plan are asked for when a plugin asks: they come into being during set-up. */
export interface HostParts {
  readonly hooks: Hooks;
  readonly assembled: Assembled;
  readonly members: Members;
  readonly requests: PendingRequests;
  readonly warn: (text: string) => void;
  isFrozen(): boolean;
  model(): Model | null;
  plan(): Plan | null;
  startStep(): number;
}

/** The host of one plugin; `owner` is the plugin of the run that has adopted it, or itself. */
export function hostFor(parts: HostParts, plugin: string, owner = plugin): Host {
  const { resolve, has } = parts.assembled;
  const early = (what: string): never =>
    fail('TOO_EARLY', plugin, `${what} does not exist yet`, 'Ask for it in a hook that comes later, such as onStart.');
  const model = () => parts.model() ?? early('the model');
  return {
    hooks: hooksFor(parts.hooks, plugin, parts.isFrozen),
    resolve,
    has,
    model,
    request: (name) => parts.requests.ask(name),
    plan: () => parts.plan() ?? early('the plan'),
    weights: (purpose) => parts.hooks.onWeights.call(weightsOf(model()), purpose),
    evaluation: (parameters, draws) =>
      makeContext(model(), {
        mode: 'evaluate',
        parameters,
        draw: (name, id) => resolve(RANDOM).item(`evaluate:${name}`, draws?.epoch ?? 0, id),
      }),
    startStep: parts.startStep,
    metrics: () => parts.members.metrics(parts.hooks.onEvaluate.taps.map(({ name }) => name)),
    isFirstRank: () => resolve(COLLECTIVE).rank === 0,
    async adopt(adopted: PluginBase) {
      parts.members.adopt(owner, adopted);
      await adopted.apply?.(hostFor(parts, adopted.name, owner));
    },
    async capture(role) {
      const member = parts.members.filling(role);
      return member ? parts.members.capture(member) : {};
    },
    warn: (what) => parts.warn(`${plugin}: ${what}`),
  };
}
