import { type Host, OPTIMIZER, type Optimizer, type Parameter, type Rates, type Update } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { adamwProgram, applyAdamW } from './adam/step.js';
import { byGroup, OptimizerState } from './state/state.js';

export interface AdamWOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Another name, where a group of parameters has an AdamW for itself. */
  readonly name?: string;
}

/**
 * AdamW (Loshchilov and Hutter 2019, algorithm 2; PyTorch's form): m and v are running means of g and g^2, and
 * p -= rate (mhat / (sqrt(vhat) + epsilon) + decay p). State: 8 bytes an element. Bias correction counts applied updates.
 */
export const adamw = ({ beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, name = 'adamw' }: AdamWOptions = {}) => {
  const state = new OptimizerState(name);
  const constants = { beta1, beta2, epsilon };
  const program = adamwProgram(constants);
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
        for (const [group, members] of groups) {
          const { learningRate, weightDecay } = rates[group];
          const list = members.map(({ path, p }) => ({ p, g: gradients[path], m: state.get(`m/${path}`), v: state.get(`v/${path}`) }));
          applyAdamW(list, { rate: learningRate, decay: weightDecay, scale, correction1, correction2 }, finite, constants, program);
        }
      });
    },
    settings: () => ({ beta1, beta2, epsilon }),
    stateBytes: state.bytes,
    capture: state.capture,
    restore: state.restore,
    dispose: state.dispose,
  } satisfies Optimizer & Record<string, unknown>;
};
