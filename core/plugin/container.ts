import 'reflect-metadata';
import { type DependencyContainer, Lifecycle, container as root } from 'tsyringe';
import { oneProcess } from '../collective.js';
import { type Problem, SteploomError } from '../errors.js';
import { seededRandom } from '../random.js';
import { takenProblems } from './compose.js';
import { type AnyPlugin, factsOf, type Plugin, type PluginClass, type PluginFacts } from './plugin.js';
import * as roles from './roles.js';
import { isRole, membersOf, REQUIRED_ROLES, type Role, roleName } from './roles.js';

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
export function assemble(list: readonly AnyPlugin[]): { ready: Ready[]; container: DependencyContainer } {
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
  return { ready, container };
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

const matches = (facts: PluginFacts, wanted: string | Role): boolean =>
  typeof wanted === 'string' ? facts.name === wanted : facts.fills === wanted;
const label = (wanted: string | Role): string => (typeof wanted === 'string' ? `"${wanted}"` : `a plugin for ${roleName(wanted)}`);
/** The core's own fillings satisfy a requirement, too. */
const DEFAULTED: readonly (string | Role)[] = [roles.SCHEDULE, roles.WINDOW, roles.COLLECTIVE, roles.RANDOM, roles.CLOCK];

function relationProblems(facts: readonly PluginFacts[]): Problem[] {
  const problems: Problem[] = [];
  for (const one of facts) {
    for (const wanted of one.requires ?? [])
      if (!DEFAULTED.includes(wanted) && !facts.some((f) => matches(f, wanted)))
        problems.push({ code: 'PLUGIN_MISSING', plugin: one.name, what: `requires ${label(wanted)}`, fix: 'Add it.' });
    for (const unwanted of one.conflicts ?? [])
      for (const other of facts)
        if (other !== one && matches(other, unwanted))
          problems.push({
            code: 'PLUGIN_CONFLICT',
            plugin: one.name,
            what: `cannot run together with ${other.name}`,
            fix: `Leave one of them out: .without('${other.name}').`,
          });
  }
  return problems;
}

/** A stable topological order: requires and after come first, ties stay as given. */
function sorted(facts: readonly PluginFacts[], problems: Problem[]): number[] {
  const before = facts.map((one) =>
    [...(one.requires ?? []), ...(one.after ?? [])].flatMap((wanted) =>
      facts.flatMap((f, i) => (f !== one && matches(f, wanted) ? [i] : [])),
    ),
  );
  const order: number[] = [];
  const placed = new Set<number>();
  while (order.length < facts.length) {
    const next = facts.findIndex((_, i) => !placed.has(i) && before[i].every((b) => placed.has(b)));
    if (next < 0) {
      const rest = facts.filter((_, i) => !placed.has(i)).map((f) => f.name);
      const what = `these wait for one another: ${rest.join(', ')}`;
      problems.push({ code: 'PLUGIN_CYCLE', plugin: rest[0], what, fix: 'Drop one "after" or "requires".' });
      return order;
    }
    placed.add(next);
    order.push(next);
  }
  return order;
}
