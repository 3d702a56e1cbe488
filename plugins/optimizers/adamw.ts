import type { Scalar } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { type Host, OPTIMIZER, type Optimizer, type Parameter, type Rates, type Update } from '../../core/index.js';
import { type ConstantsAdamW, type FactorsAdamW, operation, type ParameterAdamW } from '../devices/compute/contract.js';
import type { Arrays, Program } from '../devices/compute/program.js';
import { applyUpdate } from '../devices/compute/update.js';
import { byGroup, OptimizerState } from './state/state.js';

export interface AdamWOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Another name, where a group of parameters has an AdamW of its own. */
  readonly name?: string;
}

/** The update over p, its gradient g, and the running means m and v. */
export const adamwProgram = (beta1: number, beta2: number, epsilon: number): Program => ({
  name: `adamw ${beta1} ${beta2} ${epsilon}`,
  arrays: ['p', 'g', 'm', 'v'],
  writes: ['p', 'm', 'v'],
  factors: ['rate', 'decay', 'scale', 'correction1', 'correction2'],
  body: (a, { p, g, m, v, rate, decay, scale, correction1, correction2 }) => {
    const x = a.mul(g, scale);
    const mean = a.add(m, a.mul(a.sub(x, m), 1 - beta1));
    const square = a.add(v, a.mul(a.sub(a.mul(x, x), v), 1 - beta2));
    const direction = a.div(a.mul(mean, correction1), a.add(a.sqrt(a.mul(square, correction2)), epsilon));
    return { p: a.sub(p, a.mul(rate, a.add(direction, a.mul(decay, p)))), m: mean, v: square };
  },
});

/** One step over a list, by the device's own AdamW if it has one. */
export function applyAdamW(
  list: readonly ParameterAdamW[],
  factors: FactorsAdamW,
  finite: number | Scalar,
  constants: ConstantsAdamW,
  program: Program,
): void {
  const adamw = operation('adamw');
  if (adamw) adamw(list, factors, finite, constants);
  else applyUpdate(program, list as unknown as readonly Arrays[], { ...factors }, finite);
}

/**
 * AdamW (Loshchilov and Hutter 2019, algorithm 2; PyTorch's form): m and v are running means of g and g^2, and
 * p -= rate (mhat / (sqrt(vhat) + epsilon) + decay p). State: 8 bytes an element. Bias correction counts applied updates.
 */
export const adamw = ({ beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, name = 'adamw' }: AdamWOptions = {}) => {
  const state = new OptimizerState(name);
  const constants = { beta1, beta2, epsilon };
  const program = adamwProgram(beta1, beta2, epsilon);
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
      });
    },
    start(parameters: ReadonlyMap<string, Parameter>) {
      groups = byGroup(parameters);
      state.zerosLike('m', parameters);
      state.zerosLike('v', parameters);
      state.corrections();
    },
    update({ gradients, scale, finite }: Update, rates: Readonly<Record<string, Rates>>) {
      tf.tidy(() => {
        const { correction1, correction2 } = state.correct(beta1, beta2, finite);
        for (const [group, own] of groups) {
          const { learningRate, weightDecay } = rates[group];
          const list = own.map(({ path, p }) => ({ p, g: gradients[path], m: state.get(`m/${path}`), v: state.get(`v/${path}`) }));
          applyAdamW(list, { rate: learningRate, decay: weightDecay, scale, correction1, correction2 }, finite, constants, program);
        }
      });
    },
    stateBytes: state.bytes,
    capture: state.capture,
    restore: state.restore,
    dispose: state.dispose,
  } satisfies Optimizer & Record<string, unknown>;
};
