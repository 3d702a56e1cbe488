import type { Variable } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { type Host, OPTIMIZER, type Optimizer, type Parameter, type Rates, type Update } from '../../core/index.js';
import { FUSED, listKernel } from '../devices/kernels/names.js';
import { finishedGradient, OptimizerState, onDevice } from './state.js';

export interface AdamWOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
}

/**
 * AdamW (Loshchilov and Hutter 2019, algorithm 2; PyTorch's form): m and v are running means of g and g^2, and
 * p -= rate (mhat / (sqrt(vhat) + epsilon) + decay p). State: 8 bytes an element. Bias correction counts applied updates.
 */
export const adamw = ({ beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 }: AdamWOptions = {}) => {
  const state = new OptimizerState('adamw');
  let parameters: ReadonlyMap<string, Parameter> = new Map();

  return {
    name: 'adamw',
    fills: OPTIMIZER,
    apply({ hooks }: Host) {
      hooks.validate.tap('adamw', (problems) => {
        for (const [name, value] of Object.entries({ beta1, beta2 }))
          if (!(value >= 0 && value < 1))
            problems.add('OPTION_INVALID', 'adamw', `${name} is ${value}`, 'Give a number from 0 up to, not including, 1.');
        if (!(epsilon > 0)) problems.add('OPTION_INVALID', 'adamw', `epsilon is ${epsilon}`, 'Give a number above 0.');
        return undefined;
      });
    },
    start(given: ReadonlyMap<string, Parameter>) {
      parameters = given;
      state.zerosLike('m', given);
      state.zerosLike('v', given);
      // 1 - beta^t, kept on the device: the host does not know whether a step was applied. Starting at 0 and moving
      // towards 1 by 1 - beta loses no digits, as computing the power would.
      state.scalar('correction1');
      state.scalar('correction2');
    },
    update(update: Update, rates: Readonly<Record<string, Rates>>) {
      tf.tidy(() => {
        const finite = onDevice(update.finite);
        const advance = (name: string, beta: number) => {
          const before = state.get(name);
          const after = before.add(finite.mul(1 - beta).mul(tf.sub(1, before)));
          before.assign(after as tf.Scalar);
          return after.maximum(1e-30);
        };
        const [correction1, correction2] = [advance('correction1', beta1), advance('correction2', beta2)];
        const fused = listKernel(FUSED.adamw);
        for (const [group, { learningRate, weightDecay }] of Object.entries(rates)) {
          const own = [...parameters].filter(([, p]) => p.group === group);
          if (fused) {
            const factors = tf.concat([
              tf.tensor1d([learningRate, weightDecay]),
              ...[onDevice(update.scale), finite, correction1, correction2].map((x) => x.reshape([1])),
            ]);
            const list = own.map(([path, { variable }]) => ({
              p: variable,
              g: update.gradients[path],
              m: state.get(`m/${path}`),
              v: state.get(`v/${path}`),
            }));
            fused({ parameters: list, factors, beta1, beta2, epsilon });
            continue;
          }
          const k1 = finite.mul(1 - beta1);
          const k2 = finite.mul(1 - beta2);
          for (const [path, { variable }] of own)
            tf.tidy(() => {
              const g = finishedGradient(update.gradients[path], update);
              const [m, v] = [state.get(`m/${path}`), state.get(`v/${path}`)];
              const m1 = m.add(g.sub(m).mul(k1));
              const v1 = v.add(g.square().sub(v).mul(k2));
              const direction = m1.div(correction1).div(v1.div(correction2).sqrt().add(epsilon)).add(variable.mul(weightDecay));
              assign(variable, variable.sub(direction.mul(finite.mul(learningRate))));
              assign(m, m1);
              assign(v, v1);
            });
        }
      });
    },
    stateBytes: (sizes: readonly number[]) => sizes.reduce((sum, size) => sum + 8 * size, 8),
    capture: state.capture,
    restore: state.restore,
    dispose: state.dispose,
  } satisfies Optimizer & Record<string, unknown>;
};

const assign = (variable: Variable, value: tf.Tensor): void => variable.assign(value as tf.Tensor<tf.Rank>);
