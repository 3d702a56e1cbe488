import type { Problem } from '../errors.js';
import type { PluginFacts } from './plugin.js';
import { CLOCK, COLLECTIVE, RANDOM, type Role, roleName, SCHEDULE, WINDOW } from './roles.js';

const isMeant = (facts: PluginFacts, wanted: string | Role): boolean =>
  typeof wanted === 'string' ? facts.name === wanted : facts.fills === wanted;
const label = (wanted: string | Role): string => (typeof wanted === 'string' ? `"${wanted}"` : `a plugin for ${roleName(wanted)}`);
/** The core's own fillings satisfy a requirement, too. */
const DEFAULTED: readonly (string | Role)[] = [SCHEDULE, WINDOW, COLLECTIVE, RANDOM, CLOCK];

/** What plugins ask for in requires and conflicts, and do not find, or find. */
export function relationProblems(facts: readonly PluginFacts[]): Problem[] {
  const problems: Problem[] = [];
  for (const one of facts) {
    for (const wanted of one.requires ?? [])
      if (!DEFAULTED.includes(wanted) && !facts.some((f) => isMeant(f, wanted)))
        problems.push({ code: 'PLUGIN_MISSING', plugin: one.name, what: `requires ${label(wanted)}`, fix: 'Add it.' });
    for (const unwanted of one.conflicts ?? [])
      for (const other of facts)
        if (other !== one && isMeant(other, unwanted))
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
export function sorted(facts: readonly PluginFacts[], problems: Problem[]): number[] {
  const before = facts.map((one) =>
    [...(one.requires ?? []), ...(one.after ?? [])].flatMap((wanted) =>
      facts.flatMap((f, i) => (f !== one && isMeant(f, wanted) ? [i] : [])),
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
