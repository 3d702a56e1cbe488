import type { Scalar, Tensor, Variable } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { allToHost, assignAll, type Parameter, type State, type Update } from '../../core/index.js';
import { type Arrays, apply, type Program } from '../devices/kernels/program.js';

const biasCorrection: Program = {
  name: 'bias correction',
  arrays: ['power', 'rest', 'inverse'],
  writes: ['power', 'inverse'],
  factors: [],
  body: (a, { power, rest }) => {
    const next = a.add(power, a.mul(rest, a.sub(1, power)));
    return { power: next, inverse: a.div(1, a.max(next, 1e-30)) };
  },
};

/** Named variables of an optimizer: one set per parameter, and scalars that stay on the device. Saved and restored strictly. */
export class OptimizerState {
  readonly variables = new Map<string, Variable>();
  private readonly corrections = new Map<string, { power: Variable; rest: Variable; inverse: Variable }>();
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

  /** Keeps 1 - beta^t under `name`, for t applied steps. */
  correction(name: string, beta: number): void {
    const own = (value: number) => tf.tidy(() => tf.variable(tf.scalar(value), false));
    this.corrections.set(name, { power: this.scalar(name), rest: own(1 - beta), inverse: own(1) });
  }

  /**
   * Counts one more applied step, where `finite` is 1. On the device: the host does not know whether a step was applied.
   * 1 - beta^t starts at 0 and moves towards 1 by 1 - beta, which loses no digits, as computing the power would.
   */
  correct(finite: number | Scalar): void {
    apply(biasCorrection, [...this.corrections.values()] as unknown as Arrays[], {}, finite);
  }

  /** 1 / (1 - beta^t) after {@link correct}. Undefined before the first applied step. */
  inverse(name: string): Scalar {
    return this.corrections.get(name)?.inverse as unknown as Scalar;
  }

  /** Bytes held. */
  bytes = (): number => [...this.variables.values()].reduce((sum, { size }) => sum + 4 * size, 8 * this.corrections.size);

  capture = (): Promise<State> => allToHost(Object.fromEntries(this.variables));

  restore = async (state: State): Promise<void> => assignAll(this.owner, this.variables, state);

  dispose = (): void => {
    for (const variable of this.variables.values()) variable.dispose();
    this.variables.clear();
    for (const { rest, inverse } of this.corrections.values()) tf.dispose([rest, inverse]);
    this.corrections.clear();
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
    const own = groups.get(group);
    if (own) own.push({ path, p: variable });
    else groups.set(group, [{ path, p: variable }]);
  }
  return groups;
}

/** Complains of constants outside [0, 1). */
export function checkBetas(
  problems: { add(code: string, plugin: string, what: string, fix: string): void },
  plugin: string,
  betas: object,
): void {
  for (const [name, value] of Object.entries(betas))
    if (!(value >= 0 && value < 1))
      problems.add('OPTION_INVALID', plugin, `${name} is ${value}`, 'Give a number from 0 up to, not including, 1.');
}

/** Complains of constants that are not above 0. */
export function checkPositive(
  problems: { add(code: string, plugin: string, what: string, fix: string): void },
  plugin: string,
  values: object,
): void {
  for (const [name, value] of Object.entries(values))
    if (!(value > 0)) problems.add('OPTION_INVALID', plugin, `${name} is ${value}`, 'Give a number above 0.');
}
