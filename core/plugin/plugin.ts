import { fail } from '../errors.js';
import type { Forecast } from '../forecast.js';
import type { Context, Model, Tensors } from '../model.js';
import type { Plan } from '../plan.js';
import type { Settings, State } from '../snapshot.js';
import type { PluginHooks, Purpose, Requests } from './hooks.js';
import type { Role, RoleName, Roles } from './roles.js';

/** What a plugin is given to work with. Model and plan exist from their hooks on; asking earlier throws TOO_EARLY. */
export interface Host {
  /** All hooks, to be tapped in apply(), each once. */
  readonly hooks: PluginHooks;
  /** What fills a role: another plugin of the run, or the core's default. */
  resolve<N extends RoleName>(role: Role<N>): Roles[N];
  /** Whether some plugin (or a default) fills the role. */
  has(role: Role): boolean;
  /** Asks for a stop, a checkpoint or an evaluation; it happens at a step's boundary, on all ranks. */
  request(name: keyof Requests): void;
  /** Whether a stop was asked for on this rank, by a signal, the caller or a plugin: work that takes long outside of steps ends early then. */
  stopAsked(): boolean;
  /**
   * Ends an evaluation (onEvaluate) that a stop cut short, and the run with it: what was found is dropped, and a run that is resumed from there
   * evaluates first. To be called on every rank or on none.
   */
  breakOffEvaluation(): never;
  /** The model, from prepareModel on. */
  model(): Model;
  /** How long the run is, from prepareModel on. */
  plan(): Plan;
  /** What a step takes of the device's memory, and what is captured of it; null where that was not looked for, and before set-up is complete. */
  forecast(): Forecast | null;
  /** The weights to use for a purpose, as onWeights gives them (an average, say). Borrowed: never dispose them. */
  weights(purpose: Purpose): Tensors;
  /** A context for evaluation outside the loop. `draws` names the epoch that keyed draws belong to. */
  evaluation(parameters: Tensors, draws?: { epoch: number }): Context;
  /** Steps that were made before this run: 0, or where a resumed one goes on. From onStart on. */
  startStep(): number;
  /** What tells this run from others: a run that resumes it has the same. From onStart on. */
  runId(): string;
  /**
   * Whether this is rank 0, which writes files and talks to the user; another rank writes only what an error has left that it alone has (onCheckpoint).
   * Asked in hooks, not in apply.
   */
  isFirstRank(): boolean;
  /** The metrics that evaluations will give, from validate on; null where a plugin adds some and does not say which. */
  metrics(): readonly string[] | null;
  /**
   * Takes another plugin in, which is not one of the run's: applies it, with hooks under its own name. Its state is saved as part of the
   * adopting plugin's, and it is disposed with it. It fills no role of the run, whatever it says.
   */
  adopt(plugin: PluginBase): Promise<void>;
  /** The state of what fills a role, with that of the plugins it has adopted. */
  capture(role: Role): Promise<State>;
  /** Notes a file or folder that the run has written and leaves there, for its result. */
  wrote(path: string): void;
  /** Warns at once, outside the problem lists. */
  warn(what: string): void;
}

/** A plugin's facts: its name, the role it fills, and its place among others (by name or role). */
export interface PluginFacts {
  /** In kebab case: its name in errors, logs and snapshots. */
  readonly name: string;
  /** The role it fills, by being what the role asks for. */
  readonly fills?: Role;
  /** Plugins (by name) or roles that must be there, and come before it. */
  readonly requires?: readonly (string | Role)[];
  /** Plugins or roles that must not be there. */
  readonly conflicts?: readonly (string | Role)[];
  /** Plugins or roles that come before it where they are there. */
  readonly after?: readonly (string | Role)[];
}

export interface PluginBase extends PluginFacts {
  /** Taps hooks and keeps what it needs of the host; called once, in order, while nothing else is set up yet. */
  apply?(host: Host): void | Promise<void>;
  /** All state that a resumed run needs, between steps. */
  capture?(): Promise<State>;
  /** Takes a captured state back; throws where it does not fit. */
  restore?(state: State): Promise<void>;
  /** The metrics that its tap of onEvaluate adds; none where it only looks. Without it nobody can tell before the first evaluation. */
  readonly metrics?: readonly string[];
  /**
   * Options that change what the run's numbers mean (a scale, a loss's weights, a schedule's shape), by name. They are saved with every
   * snapshot; a run with others is refused unless `plugin.option` is among the overrides, and then it says so. Asked once the model is there.
   */
  settings?(): Settings | Promise<Settings>;
  /** Frees what apply and the hooks took; called in reverse order, also when set-up failed. */
  dispose?(): void | Promise<void>;
}

/** A plugin that fills a role. */
export type Filling<N extends RoleName> = PluginBase & { readonly fills: Role<N> } & Roles[N];
/** A function has a name and an apply() as well: `bind` keeps a factory from being taken for the plugin it makes. */
type NotFilling = PluginBase & { readonly fills?: undefined; readonly bind?: never };

/** A plugin: an object that taps hooks, and fills at most one role by being what that role asks for. */
export type Plugin = NotFilling | { [N in RoleName]: Filling<N> }[RoleName];

/** A plugin as an @injectable() class; its facts stand in a static member and its parameters carry @inject(ROLE). */
export interface PluginClass {
  new (...parameters: never[]): Omit<PluginBase, keyof PluginFacts>;
  readonly plugin: PluginFacts;
}

export type AnyPlugin = Plugin | PluginClass;

/** A plugin's facts, wherever they stand. Throws PLUGIN_NOT_CALLED where a factory was given in its place. */
export function factsOf(plugin: AnyPlugin): PluginFacts {
  if (typeof plugin !== 'function') return plugin;
  if (plugin.plugin) return plugin.plugin;
  const name = (plugin as { name: string }).name || 'a plugin';
  return fail('PLUGIN_NOT_CALLED', name, 'is a function that makes a plugin, not a plugin', `Call it: ${name}().`);
}
