import type { Scalar, Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { type Factors, operation } from './contract.js';
import { type Arrays, type Program, tensorArithmetic } from './program.js';

/** Runs a program in place; where `finite` is 0 nothing changes. */
export function applyUpdate(program: Program, list: readonly Arrays[], factors: Factors = {}, finite: number | Scalar = 1): void {
  if (list.length === 0) return;
  const update = operation('update');
  if (update) {
    update(program, list, factors, finite);
    return;
  }
  for (const arrays of list)
    tf.tidy(() => {
      const next = program.body(tensorArithmetic, { ...arrays, ...asTensors(factors) } as Record<string, Tensor>);
      for (const [name, value] of Object.entries(next)) {
        const old = arrays[name] as tf.Variable;
        // Chosen, not multiplied: 0 times NaN is NaN.
        const chosen =
          typeof finite === 'number' ? (finite > 0 ? value : null) : tf.where(finite.greater(0).broadcastTo(old.shape), value, old);
        if (chosen) old.assign(chosen as Tensor<tf.Rank>);
      }
    });
}

/** Whether programs run as one kernel that writes in place. */
export const updatesInPlace = (): boolean => operation('update') !== undefined;

/** A program's factors as scalars. Inside a tidy. */
export const asTensors = (factors: Factors): Record<string, Scalar> =>
  Object.fromEntries(Object.entries(factors).map(([name, value]) => [name, typeof value === 'number' ? tf.scalar(value) : value]));
