import type { Scalar, Tensor, Variable } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { allToHost, assignAll, type Parameter, type State, type Update } from '../../core/index.js';

/** Named variables of an optimizer: one set per parameter, and scalars that stay on the device. Saved and restored strictly. */
export class OptimizerState {
  readonly variables = new Map<string, Variable>();
  private readonly owner: string;

  constructor(owner: string) {
    this.owner = owner;
  }

  /** Zeros shaped like each parameter, under `kind/path`. */
  zerosLike(kind: string, parameters: ReadonlyMap<string, Parameter>): void {
    for (const [path, { variable }] of parameters) this.add(`${kind}/${path}`, tf.zeros(variable.shape));
  }

  scalar(name: string): Variable {
    return this.add(name, tf.scalar(0));
  }

  private add(name: string, value: Tensor): Variable {
    const variable = tf.variable(value as Tensor<tf.Rank>, false);
    value.dispose();
    this.variables.set(name, variable);
    return variable;
  }

  get(name: string): Variable {
    return this.variables.get(name) as Variable;
  }

  capture = (): Promise<State> => allToHost(Object.fromEntries(this.variables));

  restore = async (state: State): Promise<void> => assignAll(this.owner, this.variables, state);

  dispose = (): void => {
    for (const variable of this.variables.values()) variable.dispose();
    this.variables.clear();
  };
}

/** `update.scale` and `update.finite` as tensors on the device; inside a tidy. */
export const onDevice = (value: number | Scalar): Scalar => (typeof value === 'number' ? tf.scalar(value) : value);

/** The mean gradient, with zeros in its place where the step is not applied: 0 times NaN would be NaN. */
export function finishedGradient(gradient: Tensor, { scale, finite }: Update): Tensor {
  const mean = gradient.mul(scale);
  return typeof finite === 'number' ? mean : tf.where(finite.greater(0).broadcastTo(mean.shape), mean, tf.zerosLike(mean));
}
