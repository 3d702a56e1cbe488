import { fail, type Host, OPTIMIZER, type Optimizer, type Parameter, type Rates, type Update } from '../../core/index.js';
import type { Scalar } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import type { Program } from '../devices/compute/program.js';
import { total } from '../devices/compute/reduce.js';
import { applyUpdate } from '../devices/compute/update.js';
import { byGroup, OptimizerState, onDevice } from './state/state.js';

export interface ProdigyOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  /** Of the estimate's running sums; the square root of beta2 by default. */
  readonly beta3?: number;
  readonly epsilon?: number;
  /** The first estimate of the distance to the solution. */
  readonly d0?: number;
  /** Multiplies the estimate: 0.5 or 2 where its steps are too large or too small. */
  readonly dCoefficient?: number;
  /** The estimate grows by at most this factor a step. */
  readonly growthRate?: number;
  /** Adam's bias correction, which the authors leave out by default. */
  readonly biasCorrection?: boolean;
  /** Takes the learning rate out of the estimate's sums: for a warm-up. */
  readonly safeguardWarmup?: boolean;
  readonly name?: string;
}

/**
 * Prodigy (Mishchenko and Defazio 2023; the reference package prodigyopt): Adam whose step size is estimated while it trains,
 * so that a learning rate of 1, times any schedule, needs no search. Weight decay is decoupled. State: 16 bytes an element.
 */
export const prodigy = (options: ProdigyOptions = {}) => {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, d0 = 1e-6, dCoefficient = 1, growthRate = Number.POSITIVE_INFINITY } = options;
  const { beta3 = Math.sqrt(beta2), biasCorrection = false, safeguardWarmup = false, name = 'prodigy' } = options;
  const state = new OptimizerState(name);
  let groups: ReturnType<typeof byGroup> = new Map();

  const progress: Program = {
    name: 'prodigy progress',
    arrays: ['p', 'g', 'p0'],
    writes: [],
    factors: ['scale'],
    body: (a, { p, g, p0, scale }) => ({ sum: a.mul(a.mul(g, scale), a.sub(p0, p)) }),
  };
  const means: Program = {
    name: `prodigy means ${beta1} ${beta2} ${beta3}`,
    arrays: ['g', 'm', 'v', 's'],
    writes: ['m', 'v', 's'],
    factors: ['scale', 'd', 'weight'],
    body: (a, { g, m, v, s, scale, d, weight }) => {
      const x = a.mul(g, scale);
      const dx = a.mul(d, x);
      return {
        m: a.add(a.mul(m, beta1), a.mul(dx, 1 - beta1)),
        v: a.add(a.mul(v, beta2), a.mul(a.mul(dx, dx), 1 - beta2)),
        s: a.add(a.mul(s, beta3), a.mul(weight, x)),
      };
    },
  };
  const length: Program = { name: 'prodigy length', arrays: ['s'], writes: [], factors: [], body: (a, { s }) => ({ sum: a.abs(s) }) };
  const step: Program = {
    name: 'prodigy step',
    arrays: ['p', 'm', 'v'],
    writes: ['p'],
    factors: ['rate', 'decay', 'small'],
    body: (a, { p, m, v, rate, decay, small }) => ({
      p: a.sub(p, a.mul(rate, a.add(a.div(m, a.add(a.sqrt(v), small)), a.mul(decay, p)))),
    }),
  };

  return {
    name,
    fills: OPTIMIZER,
    usualLearningRate: 1,
    // The distance that it learns is of all parameters.
    needsAll: true,
    apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        const check = problems.options(name);
        check.share('beta1', beta1);
        check.share('beta2', beta2);
        check.share('beta3', beta3);
        check.positive('epsilon', epsilon);
        check.positive('d0', d0);
        check.positive('dCoefficient', dCoefficient);
        if (!(growthRate > 0)) check.invalid(`growthRate is ${growthRate}`, 'Give a number above 0, or Infinity.');
      });
    },
    start(parameters: ReadonlyMap<string, Parameter>) {
      groups = byGroup(parameters);
      for (const kind of ['m', 'v', 's']) state.zerosLike(kind, parameters);
      for (const [path, { variable }] of parameters)
        state.add(
          `start/${path}`,
          tf.tidy(() => variable.mul(1)),
        );
      state.scalar('d', d0);
      state.scalar('largestD', d0);
      state.scalar('numerator');
      state.corrections();
    },
    update({ gradients, scale, finite }: Update, rates: Readonly<Record<string, Rates>>) {
      const training = [...groups].filter(([group]) => rates[group].learningRate > 0);
      if (training.length === 0) return;
      const learningRate = rates[training[0][0]].learningRate;
      for (const [group] of training)
        if (rates[group].learningRate !== learningRate)
          fail(
            'RATES_DIFFER',
            name,
            `groups have the rates ${learningRate} and ${rates[group].learningRate}`,
            'Give all groups one rate, or 0.',
          );
      tf.tidy(() => {
        const applied = onDevice(finite);
        const { correction1, correction2 } = state.correct(beta1, beta2, finite);
        const d = state.get('d').mul(1) as Scalar;
        const rate = (biasCorrection ? d.mul(correction1).div(correction2.sqrt()) : d).mul(learningRate) as Scalar;
        const weight = d.div(d0).mul(safeguardWarmup ? d : rate) as Scalar;
        const all = training.flatMap(([, members]) => members);
        const of = (kind: string, path: string) => state.get(`${kind}/${path}`);
        const list = all.map(({ path, p }) => ({
          p,
          g: gradients[path],
          m: of('m', path),
          v: of('v', path),
          s: of('s', path),
          p0: of('start', path),
        }));
        const delta = total(progress, list, { scale }).mul(d.div(d0)).mul(rate);
        applyUpdate(means, list, { scale, d, weight }, finite);
        const denominator = total(length, list);
        const numerator = state.get('numerator').mul(beta3).add(delta);
        // Without any gradient so far there is no estimate, and no step.
        const moved = denominator.greater(0).toFloat().mul(1).mul(applied) as Scalar;
        const estimate = numerator.div(denominator.maximum(1e-38)).mul(dCoefficient);
        const first = d.equal(tf.scalar(d0));
        const raised = tf.where(first, d.maximum(estimate), d);
        const largest = state.get('largestD').maximum(estimate);
        const next = (growthRate === Number.POSITIVE_INFINITY ? largest : largest.minimum(raised.mul(growthRate))) as Scalar;
        state.set('numerator', numerator, moved);
        state.set('largestD', largest, moved);
        state.set('d', next, moved);
        for (const [group, members] of training) {
          const arrays = members.map(({ path, p }) => ({ p, m: of('m', path), v: of('v', path) }));
          applyUpdate(step, arrays, { rate, decay: rates[group].weightDecay, small: next.mul(epsilon) as Scalar }, moved);
        }
      });
    },
    settings: () => ({ beta1, beta2, beta3, epsilon, d0, dCoefficient, growthRate: String(growthRate), biasCorrection, safeguardWarmup }),
    stateBytes: state.bytes,
    capture: state.capture,
    restore: state.restore,
    dispose: state.dispose,
  } satisfies Optimizer & Record<string, unknown>;
};
