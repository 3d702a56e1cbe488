import type { Model, Parameter } from './model.js';
import { trainablePaths } from './model.js';
import type { Optimizer } from './plugin/roles.js';

/** The run's optimizer, and those that parameter groups name: each is told of its own parameters only. */
export function routed(main: Optimizer, model: Model): Optimizer {
  const parts = new Map<Optimizer, Map<string, Parameter>>();
  for (const path of trainablePaths(model)) {
    const parameter = model.parameters.get(path) as Parameter;
    const optimizer = model.groups?.[parameter.group]?.optimizer ?? main;
    const own = parts.get(optimizer) ?? new Map();
    parts.set(optimizer, own.set(path, parameter));
  }
  // The run's own has nothing to do where groups take everything; it still has to be started to be saved.
  if (!parts.has(main)) parts.set(main, new Map());
  return {
    start() {
      for (const [optimizer, own] of parts) optimizer.start(own);
    },
    update(update, rates, step) {
      for (const optimizer of parts.keys()) optimizer.update(update, rates, step);
    },
    stateBytes: () => [...parts.keys()].reduce((sum, optimizer) => sum + optimizer.stateBytes(), 0),
  };
}
