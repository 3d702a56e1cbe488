import 'reflect-metadata';
import { type DependencyContainer, Lifecycle, container as root } from 'tsyringe';
import { oneProcess } from '../collective.js';
import { type Problem, SteploomError } from '../errors.js';
import { seededRandom } from '../random.js';
import { takenProblems } from './compose.js';
import { relationProblems, sorted } from './order.js';
import { type AnyPlugin, factsOf, type Plugin, type PluginClass, type PluginFacts } from './plugin.js';
import * as roles from './roles.js';
import { isRole, membersOf, REQUIRED_ROLES, type Role, type RoleName, type Roles, roleName } from './roles.js';

/** What fills a role. */
export type Resolve = <N extends RoleName>(role: Role<N>) => Roles[N];

/** A run's plugins in order, and what fills each role. */
export interface Assembled {
  readonly ready: readonly Ready[];
  readonly resolve: Resolve;
  /** Whether some plugin, or a default of the core, fills a role. */
  has(role: Role): boolean;
}

/** A plugin that is ready to be applied, with its facts beside it (a class keeps them in a static member). */
export interface Ready {
  readonly facts: PluginFacts;
  readonly plugin: Plugin;
}

const used = new WeakSet<object>();

/** Roles the core fills itself where nobody does. A constant schedule has nothing to do. */
const defaults = (container: DependencyContainer): Record<symbol, unknown> => ({
  [roles.SCHEDULE]: {},
  [roles.WINDOW]: { length: 1 },
  [roles.COLLECTIVE]: oneProcess(),
  [roles.CLOCK]: { now: () => performance.now() },
  get [roles.RANDOM]() {
    return seededRandom((container.resolve(roles.RUN as symbol) as roles.RunOptions).seed);
  },
});

/**
 * Checks a list of plugins, puts it in order and builds its classes, in one child container per run. Objects stand under
 * their role; a class is a singleton under itself and its role an alias of it, so that there is one instance only.
 */
export function assemble(list: readonly AnyPlugin[]): Assembled {
  const problems: Problem[] = [...takenProblems(list)];
  const facts = list.map(factsOf);
  for (const role of REQUIRED_ROLES)
    if (!facts.some((f) => f.fills === role))
      problems.push({
        code: 'ROLE_MISSING',
        plugin: 'core',
        what: `no plugin fills the role ${roleName(role)}`,
        fix: 'Add one that does.',
      });
  problems.push(...relationProblems(facts));
  for (const plugin of list)
    if (typeof plugin === 'object') {
      if (used.has(plugin))
        problems.push({
          code: 'PLUGIN_REUSED',
          plugin: plugin.name,
          what: 'this object was part of an earlier run and holds its state',
          fix: 'Make a fresh one: a preset is a function for this reason.',
        });
      problems.push(...shapeProblems(plugin, plugin));
    }
  const order = sorted(facts, problems);
  if (problems.length > 0) throw new SteploomError(problems);

  const container = root.createChildContainer();
  const fallback = defaults(container);
  for (const role of Object.getOwnPropertySymbols(fallback) as Role[])
    if (!facts.some((f) => f.fills === role)) {
      let value: unknown;
      container.register(role, { useFactory: () => (value ??= fallback[role]) });
    }
  for (const entry of order.map((i) => list[i])) {
    const { fills } = factsOf(entry);
    if (typeof entry === 'function') {
      container.register(entry as never, { useClass: entry as never }, { lifecycle: Lifecycle.Singleton });
      if (fills) container.register(fills, { useToken: entry as never });
    } else if (fills) container.registerInstance(fills, entry);
  }
  const ready = order.map((i): Ready => {
    const entry = list[i];
    if (typeof entry === 'object') {
      used.add(entry);
      return { facts: facts[i], plugin: entry };
    }
    return { facts: facts[i], plugin: construct(container, entry, facts[i]) };
  });
  const late = ready.flatMap(({ facts: f, plugin }) => shapeProblems(f, plugin));
  if (late.length > 0) throw new SteploomError(late);
  // Remembered: the container takes microseconds, and a step asks several times.
  const known = new Map<symbol, unknown>();
  return {
    ready,
    resolve: (role) => {
      if (!known.has(role)) known.set(role, container.resolve(role as symbol));
      return known.get(role) as never;
    },
    has: (role) => container.isRegistered(role as symbol),
  };
}

function construct(container: DependencyContainer, Class: PluginClass, facts: PluginFacts): Plugin {
  try {
    return container.resolve(Class as never) as Plugin;
  } catch (cause) {
    throw new SteploomError(
      {
        code: 'PLUGIN_CONSTRUCTOR',
        plugin: facts.name,
        what: `could not be constructed: ${(cause as Error).message}`,
        fix: 'Mark the class @injectable() and each constructor parameter @inject(ROLE).',
      },
      { cause },
    );
  }
}

function shapeProblems(facts: PluginFacts, plugin: object): Problem[] {
  if (!facts.fills) return [];
  if (!isRole(facts.fills))
    return [
      {
        code: 'ROLE_UNKNOWN',
        plugin: facts.name,
        what: `fills ${typeof facts.fills === 'string' ? `'${facts.fills}'` : String(facts.fills)}, which is no role`,
        fix: "Import the role: import { SCHEDULE } from 'steploom'; fills: SCHEDULE.",
      },
    ];
  const missing = membersOf(facts.fills).filter((member) => (plugin as Record<string, unknown>)[member] === undefined);
  if (missing.length === 0) return [];
  const what = `fills ${roleName(facts.fills)} but has no ${missing.join(', ')}`;
  return [{ code: 'ROLE_SHAPE', plugin: facts.name, what, fix: 'Add what the role asks for.' }];
}
