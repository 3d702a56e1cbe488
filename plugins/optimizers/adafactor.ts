import { type Host, OPTIMIZER, type Optimizer, type Parameter, type Rates, type Update } from '../../core/index.js';
import type { Scalar, Tensor } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import { byGroup, finishedGradient, OptimizerState, onDevice } from './state/state.js';

export interface AdafactorOptions {
  /** beta2 of step t is 1 - t^decayPower. */
  readonly decayPower?: number;
  /** Keeps the second moment from 0. */
  readonly epsilon1?: number;
  /** The smallest size a parameter is taken to have. */
  readonly epsilon2?: number;
  /** Updates whose root mean square is above this are scaled down to it. */
  readonly clipThreshold?: number;
  readonly name?: string;
}

/**
 * Adafactor (Shazeer and Stern 2018, algorithms 4 and 5, in the form and with the defaults of torch.optim.Adafactor): the
 * second moment of a matrix is kept as the means of its rows and columns (of the last two axes), a vector's whole, and there
 * is no first moment. The step is the parameter's root mean square times min(rate, 1 / sqrt(t)).
 */
export const adafactor = (options: AdafactorOptions = {}) => {
  const { decayPower = -0.8, epsilon1 = 2 ** -23, epsilon2 = 1e-3, clipThreshold = 1, name = 'adafactor' } = options;
  const state = new OptimizerState(name);
  let groups: ReturnType<typeof byGroup> = new Map();

  return {
    name,
    fills: OPTIMIZER,
    apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        const check = problems.options(name);
        if (!(decayPower < 0)) check.invalid(`decayPower is ${decayPower}`, 'Give a number below 0.');
        check.positive('epsilon1', epsilon1);
        check.positive('epsilon2', epsilon2);
        check.positive('clipThreshold', clipThreshold);
      });
    },
    start(parameters: ReadonlyMap<string, Parameter>) {
      groups = byGroup(parameters);
      for (const [path, { variable }] of parameters) {
        const { shape } = variable;
        if (shape.length < 2) state.add(`v/${path}`, tf.zeros(shape));
        else {
          state.add(`rows/${path}`, tf.zeros([...shape.slice(0, -1), 1]));
          state.add(`columns/${path}`, tf.zeros([...shape.slice(0, -2), 1, ...shape.slice(-1)]));
        }
      }
      state.scalar('steps');
    },
    update(update: Update, rates: Readonly<Record<string, Rates>>) {
      tf.tidy(() => {
        const finite = onDevice(update.finite);
        const steps = state.get('steps').add(finite) as Scalar;
        state.get('steps').assign(steps);
        const t = steps.maximum(1);
        /** The share of the new, 0 where the step is not applied. */
        const share = t.pow(decayPower).mul(finite);
        const towards = (key: string, value: Tensor): Tensor => {
          const before = state.get(key);
          const after = before.add(value.sub(before).mul(share));
          before.assign(after as Tensor<tf.Rank>);
          return after;
        };
        for (const [group, members] of groups) {
          const { learningRate, weightDecay } = rates[group];
          const rho = tf.minimum(learningRate, tf.rsqrt(t)).mul(finite);
          for (const { path, p } of members)
            tf.tidy(() => {
              const g = finishedGradient(update.gradients[path], update);
              const squares = g.square();
              let v: Tensor;
              if (p.shape.length < 2) v = towards(`v/${path}`, squares);
              else {
                const rows = towards(`rows/${path}`, squares.mean(-1, true));
                const columns = towards(`columns/${path}`, squares.mean(-2, true));
                v = rows.mul(columns).div(rows.mean(-2, true).maximum(epsilon1));
              }
              const direction = g.mul(tf.rsqrt(v.maximum(epsilon1 * epsilon1)));
              const size = direction.square().mean().sqrt();
              const step = p.square().mean().sqrt().maximum(epsilon2).mul(rho).div(size.div(clipThreshold).maximum(1));
              const kept = p.mul(tf.sub(1, finite.mul(learningRate * weightDecay)));
              p.assign(kept.sub(direction.mul(step)) as Tensor<tf.Rank>);
            });
        }
      });
    },
    settings: () => ({ decayPower, epsilon1, epsilon2, clipThreshold }),
    stateBytes: state.bytes,
    capture: state.capture,
    restore: state.restore,
    dispose: state.dispose,
  } satisfies Optimizer & Record<string, unknown>;
};
