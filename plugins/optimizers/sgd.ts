import * as tf from '@tensorflow/tfjs';
import { type Host, OPTIMIZER, type Optimizer, type Parameter, type Rates, type Update } from '../../core/index.js';
import { finishedGradient, OptimizerState, onDevice } from './state.js';

export interface SGDOptions {
  readonly momentum?: number;
  /** Nesterov's form (Sutskever et al. 2013, as PyTorch has it). */
  readonly nesterov?: boolean;
}

/** Stochastic gradient descent as torch.optim.SGD: g += decay p; b = momentum b + g; p -= rate (nesterov: g + momentum b, else b). */
export const sgd = ({ momentum = 0, nesterov = false }: SGDOptions = {}) => {
  const state = new OptimizerState('sgd');
  let parameters: ReadonlyMap<string, Parameter> = new Map();

  return {
    name: 'sgd',
    fills: OPTIMIZER,
    apply({ hooks }: Host) {
      hooks.validate.tap('sgd', (problems) => {
        if (!(momentum >= 0 && momentum < 1))
          problems.add('OPTION_INVALID', 'sgd', `momentum is ${momentum}`, 'Give a number from 0 up to, not including, 1.');
        if (nesterov && momentum === 0) problems.add('OPTION_INVALID', 'sgd', 'nesterov needs momentum', 'Give a momentum above 0.');
        return undefined;
      });
    },
    start(given: ReadonlyMap<string, Parameter>) {
      parameters = given;
      if (momentum > 0) state.zerosLike('momentum', given);
    },
    update(update: Update, rates: Readonly<Record<string, Rates>>) {
      for (const [path, { variable, group }] of parameters)
        tf.tidy(() => {
          const { learningRate, weightDecay } = rates[group];
          const finite = onDevice(update.finite);
          const g = finishedGradient(update.gradients[path], update).add(variable.mul(weightDecay));
          let direction = g;
          if (momentum > 0) {
            const buffer = state.get(`momentum/${path}`);
            // buffer + finite (momentum buffer + g - buffer): the old one, exactly, where the step is not applied.
            const next = buffer.add(
              buffer
                .mul(momentum - 1)
                .add(g)
                .mul(finite),
            );
            buffer.assign(next as tf.Tensor<tf.Rank>);
            direction = nesterov ? g.add(next.mul(momentum)) : next;
          }
          variable.assign(variable.sub(direction.mul(finite.mul(learningRate))) as tf.Tensor<tf.Rank>);
        });
    },
    stateBytes: (sizes: readonly number[]) => (momentum > 0 ? sizes.reduce((sum, size) => sum + 4 * size, 0) : 0),
    capture: state.capture,
    restore: state.restore,
    dispose: state.dispose,
  } satisfies Optimizer & Record<string, unknown>;
};
