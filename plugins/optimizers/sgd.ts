import { type Host, OPTIMIZER, type Optimizer, type Parameter, type Rates, type Update } from '../../core/index.js';
import type { Program } from '../devices/compute/program.js';
import { applyUpdate } from '../devices/compute/update.js';
import { byGroup, OptimizerState } from './state/state.js';

export interface SGDOptions {
  readonly momentum?: number;
  /** Nesterov's form (Sutskever et al. 2013, as PyTorch has it). */
  readonly nesterov?: boolean;
  readonly name?: string;
}

/** Stochastic gradient descent as torch.optim.SGD: g += decay p; b = momentum b + g; p -= rate (nesterov: g + momentum b, else b). */
export const sgd = ({ momentum = 0, nesterov = false, name = 'sgd' }: SGDOptions = {}) => {
  const state = new OptimizerState(name);
  let groups: ReturnType<typeof byGroup> = new Map();
  const heavy = momentum > 0;
  const program: Program = {
    name: `sgd ${momentum} ${nesterov}`,
    arrays: heavy ? ['p', 'g', 'b'] : ['p', 'g'],
    writes: heavy ? ['p', 'b'] : ['p'],
    factors: ['rate', 'decay', 'scale'],
    body: (a, { p, g, b, rate, decay, scale }): Record<string, typeof p> => {
      const x = a.add(a.mul(g, scale), a.mul(decay, p));
      if (!heavy) return { p: a.sub(p, a.mul(rate, x)) };
      const buffer = a.add(a.mul(b, momentum), x);
      return { p: a.sub(p, a.mul(rate, nesterov ? a.add(x, a.mul(buffer, momentum)) : buffer)), b: buffer };
    },
  };

  return {
    name,
    fills: OPTIMIZER,
    apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        const check = problems.options(name);
        check.share('momentum', momentum);
        if (nesterov && !heavy) check.invalid('nesterov needs momentum', 'Give a momentum above 0.');
      });
    },
    start(parameters: ReadonlyMap<string, Parameter>) {
      groups = byGroup(parameters);
      if (heavy) state.zerosLike('momentum', parameters);
    },
    update({ gradients, scale, finite }: Update, rates: Readonly<Record<string, Rates>>) {
      for (const [group, members] of groups) {
        const { learningRate, weightDecay } = rates[group];
        const list = members.map(({ path, p }) => ({ p, g: gradients[path], ...(heavy ? { b: state.get(`momentum/${path}`) } : {}) }));
        applyUpdate(program, list, { rate: learningRate, decay: weightDecay, scale }, finite);
      }
    },
    settings: () => ({ momentum, nesterov }),
    stateBytes: state.bytes,
    capture: state.capture,
    restore: state.restore,
    dispose: state.dispose,
  } satisfies Optimizer & Record<string, unknown>;
};
