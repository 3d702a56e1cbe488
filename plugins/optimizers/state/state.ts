import { allToHost, assignAll, type Parameter, type State, type Update } from '../../../core/index.js';
import type { Scalar, Tensor, Variable } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { Program } from '../../devices/compute/program.js';
import { applyUpdate } from '../../devices/compute/update.js';

/** Of 1 - beta1^t and 1 - beta2^t, and of 1 divided by each. */
const CORRECTIONS = ['correction1', 'correction2', 'inverse1', 'inverse2'];

/**
 * 1 - beta^t counts one more applied step, on the device: the host does not know whether a step was applied. It starts at 0 and
 * moves towards 1 by 1 - beta, which loses no digits, as computing the power would. The inverse is what kernels multiply with:
 * divided there for each element, AdamW on wasm took half as long again.
 */
const biasCorrection = (beta1: number, beta2: number): Program => ({
  name: `bias correction ${beta1} ${beta2}`,
  arrays: CORRECTIONS,
  writes: CORRECTIONS,
  factors: [],
  body: (a, { correction1, correction2 }) => {
    const next1 = a.add(correction1, a.mul(a.sub(1, correction1), 1 - beta1));
    const next2 = a.add(correction2, a.mul(a.sub(1, correction2), 1 - beta2));
    return { correction1: next1, correction2: next2, inverse1: a.div(1, a.max(next1, 1e-30)), inverse2: a.div(1, a.max(next2, 1e-30)) };
  },
});

/** Named variables of an optimizer: one set per parameter, and scalars that stay on the device. Saved and restored strictly. */
export class OptimizerState {
  readonly variables = new Map<string, Variable>();
  /** Follow from `variables` anew in each applied step, so that they are not saved. */
  private inverses: readonly Variable[] = [];
  private readonly owner: string;

  constructor(owner: string) {
    this.owner = owner;
  }

  /** Zeros shaped like each parameter, under `kind/path`. */
  zerosLike(kind: string, parameters: ReadonlyMap<string, Parameter>): void {
    for (const [path, { variable }] of parameters) this.add(`${kind}/${path}`, tf.zeros(variable.shape));
  }

  scalar(name: string, value = 0): Variable {
    return this.add(name, tf.scalar(value));
  }

  /** A variable that starts as `value`, which is disposed. */
  add(name: string, value: Tensor): Variable {
    const variable = tf.variable(value as Tensor<tf.Rank>, false);
    value.dispose();
    this.variables.set(name, variable);
    return variable;
  }

  get(name: string): Variable {
    return this.variables.get(name) as Variable;
  }

  /** Sets a scalar where `finite` is 1. Inside a tidy. */
  set(name: string, value: Tensor, finite: Scalar): void {
    const before = this.get(name);
    before.assign(tf.where(finite.greater(0), value, before) as Scalar);
  }

  /** Keeps 1 - beta^t for t applied steps and both betas of Adam, as correction1 and correction2. */
  corrections(): void {
    this.scalar('correction1');
    this.scalar('correction2');
    this.inverses = [0, 0].map((value) => tf.tidy(() => tf.variable(tf.scalar(value), false)));
  }

  /** Counts a step in them where `finite` is 1, and gives 1 / (1 - beta^t) for both, of the last applied step. */
  correct(beta1: number, beta2: number, finite: number | Scalar): { correction1: Scalar; correction2: Scalar } {
    const [inverse1, inverse2] = this.inverses as unknown as Scalar[];
    const [correction1, correction2] = [this.get('correction1'), this.get('correction2')];
    applyUpdate(biasCorrection(beta1, beta2), [{ correction1, correction2, inverse1, inverse2 }], {}, finite);
    return { correction1: inverse1, correction2: inverse2 };
  }

  /** Bytes held. */
  bytes = (): number => [...this.variables.values(), ...this.inverses].reduce((sum, { size }) => sum + 4 * size, 0);

  capture = (): Promise<State> => allToHost(Object.fromEntries(this.variables));

  restore = async (state: State): Promise<void> => assignAll(this.owner, this.variables, state);

  dispose = (): void => {
    for (const variable of [...this.variables.values(), ...this.inverses]) variable.dispose();
    this.variables.clear();
    this.inverses = [];
  };
}

/** `update.scale` and `update.finite` as tensors on the device; inside a tidy. */
export const onDevice = (value: number | Scalar): Scalar => (typeof value === 'number' ? tf.scalar(value) : value);

/** The mean gradient, with zeros in its place where the step is not applied: 0 times NaN would be NaN. */
export function finishedGradient(gradient: Tensor, { scale, finite }: Update): Tensor {
  const mean = gradient.mul(scale);
  return typeof finite === 'number' ? mean : tf.where(finite.greater(0).broadcastTo(mean.shape), mean, tf.zerosLike(mean));
}

/** Parameters by group, each with its path. */
export function byGroup(parameters: ReadonlyMap<string, Parameter>): Map<string, { path: string; p: Variable }[]> {
  const groups = new Map<string, { path: string; p: Variable }[]>();
  for (const [path, { variable, group }] of parameters) {
    const members = groups.get(group);
    if (members) members.push({ path, p: variable });
    else groups.set(group, [{ path, p: variable }]);
  }
  return groups;
}
