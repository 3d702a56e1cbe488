import {
  allToHost,
  assignAll,
  fail,
  type Host,
  matches,
  type NamePattern,
  OPTIMIZER,
  type Optimizer,
  type Parameter,
  type Rates,
  type State,
  type Update,
} from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { operation } from '../devices/compute/contract.js';
import { BLOCK_SIZE, SIGNED_ZERO } from '../devices/compute/dynamic-map.js';
import { adamwProgram, applyAdamW } from './adam/step.js';
import type { AdamWOptions } from './adamw.js';
import { Codes } from './eight-bit/codes.js';
import { portableStep } from './eight-bit/portable.js';
import { byGroup, finishedGradient, OptimizerState, onDevice } from './state/state.js';

export interface AdamW8bitOptions extends AdamWOptions {
  /** Tensors with fewer elements keep 32-bit state. */
  readonly min8bitSize?: number;
  /** Parameters that keep 32-bit state, by path: a text is its beginning, its end or all of it between dots. */
  readonly keep32bit?: readonly NamePattern[];
}

/**
 * AdamW whose running means are kept in 8 bits, as bitsandbytes has it (Dettmers et al. 2022): a code a byte out of a dynamic
 * map and one float32 absmax for each 256 elements. The update itself uses the means before they are rounded.
 * State: 2 + 8/256 bytes an element; small tensors keep AdamW's 8.
 *
 * A gradient far above the others of its block rounds their second moments to 0. |mhat| / sqrt(vhat) cannot exceed
 * (1 - beta1) / sqrt(1 - beta2) (Kingma and Ba 2015, section 2.1), so what does, by that rounding, is cut to it.
 */
export const adamw8bit = (options: AdamW8bitOptions = {}) => {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, name = 'adamw8bit', min8bitSize = 4096, keep32bit = [] } = options;
  const constants = { beta1, beta2, epsilon, bound: Math.max(1, (1 - beta1) / Math.sqrt(1 - beta2)) };
  const state = new OptimizerState(name);
  const program = adamwProgram(constants);
  let codes: Codes | null = null;
  let groups: ReturnType<typeof byGroup> = new Map();

  return {
    name,
    fills: OPTIMIZER,
    apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        const check = problems.options(name);
        check.share('beta1', beta1);
        check.share('beta2', beta2);
        check.positive('epsilon', epsilon);
        check.whole('min8bitSize', min8bitSize, 0);
      });
    },
    start(parameters: ReadonlyMap<string, Parameter>, trained = parameters) {
      for (const pattern of keep32bit)
        if (![...trained.keys()].some((path) => matches(pattern, path)))
          fail('PATTERN_UNMATCHED', name, `keep32bit ${pattern} fits no trained parameter`, 'Look the names up with explain.');
      codes = new Codes();
      groups = byGroup(parameters);
      const isLarge = ([path, { variable }]: [string, Parameter]) =>
        variable.size >= min8bitSize && !keep32bit.some((pattern) => matches(pattern, path));
      const small = new Map([...parameters].filter((entry) => !isLarge(entry)));
      state.zerosLike('m', small);
      state.zerosLike('v', small);
      for (const [path, { variable }] of [...parameters].filter(isLarge)) {
        codes.add(`m/${path}`, variable.size, SIGNED_ZERO);
        codes.add(`v/${path}`, variable.size, 0);
        state.add(`absmax/${path}`, tf.ones([2, Math.ceil(variable.size / BLOCK_SIZE)]));
      }
      state.corrections();
    },
    update(update: Update, rates: Readonly<Record<string, Rates>>) {
      if (!codes) return;
      const { gradients, scale, finite } = update;
      const kept = codes;
      tf.tidy(() => {
        const applied = onDevice(finite);
        const { correction1, correction2 } = state.correct(beta1, beta2, finite);
        for (const [group, members] of groups) {
          const { learningRate: rate, weightDecay: decay } = rates[group];
          const factors = { rate, decay, scale, correction1, correction2 };
          const isSmall = ({ path }: { path: string }) => !kept.has(`m/${path}`);
          const list = members
            .filter(isSmall)
            .map(({ path, p }) => ({ p, g: gradients[path], m: state.get(`m/${path}`), v: state.get(`v/${path}`) }));
          applyAdamW(list, factors, finite, constants, program);
          const large = members
            .filter((member) => !isSmall(member))
            .map(({ path, p }) => {
              const [m, v, absmax] = [kept.get(`m/${path}`), kept.get(`v/${path}`), state.get(`absmax/${path}`)];
              return { p, g: gradients[path], m, v, absmax };
            });
          if (large.length === 0) continue;
          const kernel = kept.packed ? operation('adamw8bit') : undefined;
          if (kernel) kernel(large, factors, finite, constants);
          else
            for (const entry of large) tf.tidy(() => portableStep(entry, finishedGradient(entry.g, update), factors, applied, constants));
        }
      });
    },
    settings: () => ({ beta1, beta2, epsilon, min8bitSize }),
    stateBytes: () => state.bytes() + (codes?.bytes() ?? 0),
    capture: async (): Promise<State> => ({ ...(await allToHost(Object.fromEntries(state.variables))), ...(await codes?.capture()) }),
    async restore(saved: State) {
      assignAll(name, state.variables, codes?.restore(saved, name) ?? saved);
    },
    dispose() {
      state.dispose();
      codes?.dispose();
      codes = null;
    },
  } satisfies Optimizer & Record<string, unknown>;
};
