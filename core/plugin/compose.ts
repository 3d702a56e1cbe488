import { type Problem, SteploomError } from '../errors.js';
import { type AnyPlugin, factsOf } from './plugin.js';
import { roleName } from './roles.js';

/** A list of plugins that can be changed by role or name; what a preset returns. */
export class Composition implements Iterable<AnyPlugin> {
  readonly plugins: readonly AnyPlugin[];

  constructor(plugins: readonly AnyPlugin[]) {
    this.plugins = plugins;
  }

  [Symbol.iterator](): Iterator<AnyPlugin> {
    return this.plugins[Symbol.iterator]();
  }

  /**
   * Adds plugins. Each takes the place of the one that fills its role, else of the one of its name, else the end.
   * Two for one role in one call throw ROLE_TAKEN.
   */
  with(...added: readonly (AnyPlugin | Composition)[]): Composition {
    const list = flatten(added);
    checkTaken(list);
    const result = [...this.plugins];
    for (const plugin of list) {
      const { fills, name } = factsOf(plugin);
      const byRole = fills ? result.findIndex((p) => factsOf(p).fills === fills) : -1;
      const byName = result.findIndex((p) => factsOf(p).name === name);
      const place = byRole >= 0 ? byRole : byName;
      if (place >= 0) result[place] = plugin;
      else result.push(plugin);
    }
    return new Composition(result);
  }

  /** Leaves out the plugins of these names; a name that is not there throws PLUGIN_MISSING. */
  without(...names: readonly string[]): Composition {
    for (const name of names)
      if (!this.plugins.some((p) => factsOf(p).name === name))
        throw new SteploomError({
          code: 'PLUGIN_MISSING',
          plugin: name,
          what: 'cannot be left out: no plugin has this name',
          fix: `There are: ${this.plugins.map((p) => factsOf(p).name).join(', ')}.`,
        });
    return new Composition(this.plugins.filter((p) => !names.includes(factsOf(p).name)));
  }
}

/** Makes a composition of plugins and compositions; later ones do not replace earlier ones here. */
export function compose(...plugins: readonly (AnyPlugin | Composition)[]): Composition {
  const list = flatten(plugins);
  // Whatever is no plugin is refused here, where the caller's line is on the stack.
  for (const plugin of list) factsOf(plugin);
  return new Composition(list);
}

const flatten = (list: readonly (AnyPlugin | Composition)[]): AnyPlugin[] =>
  list.flatMap((entry) => (entry instanceof Composition ? [...entry.plugins] : [entry]));

function checkTaken(list: readonly AnyPlugin[]): void {
  const problems = takenProblems(list);
  if (problems.length > 0) throw new SteploomError(problems);
}

/** ROLE_TAKEN and NAME_TAKEN for every clash in a list. */
export function takenProblems(list: readonly AnyPlugin[]): Problem[] {
  const problems: Problem[] = [];
  for (const [i, plugin] of list.entries()) {
    const { name, fills } = factsOf(plugin);
    const earlier = list.slice(0, i).map(factsOf);
    const rival = fills && earlier.find((facts) => facts.fills === fills);
    if (rival)
      problems.push({
        code: 'ROLE_TAKEN',
        plugin: name,
        what: `the role ${roleName(fills)} is filled by ${rival.name} already`,
        fix: 'Keep one of them; .with(...) in a call of its own replaces.',
      });
    else if (earlier.some((facts) => facts.name === name))
      problems.push({
        code: 'NAME_TAKEN',
        plugin: name,
        what: 'another plugin has this name',
        fix: 'Give one of them another name: it keys taps and saved state.',
      });
  }
  return problems;
}
