import { type Host, type Sum, type Tensors, WINDOW } from '../../core/index.js';
import type { Scalar } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import { isUnshared } from '../devices/compute/memory.js';
import type { Program } from '../devices/compute/program.js';
import { applyUpdate, updatesInPlace } from '../devices/compute/update.js';

export interface AccumulationOptions {
  /**
   * 'items' (default): every item of a window weighs the same, in a short last window too. 'accelerate': every
   * microBatch weighs 1 / length, as Accelerate divides, so that a short last window's step is smaller.
   */
  readonly partialWindow?: 'items' | 'accelerate';
}

/** a += b */
const plusInto: Program = {
  name: 'accumulate',
  arrays: ['a', 'b'],
  writes: ['a'],
  factors: [],
  body: (x, { a, b }) => ({ a: x.add(a, b) }),
};

/** Whether a tensor may be added to in place: there is a kernel for it, and no other tensor looks at the same memory. */
const isWritable = (x: tf.Tensor): boolean => updatesInPlace() && isUnshared(x);

/** Gradient accumulation: `length` microBatches make one step. Gradients are added as sums over items and divided once. */
export const accumulation = (length: number, { partialWindow = 'items' }: AccumulationOptions = {}) => {
  let sum: Sum | null = null;
  /** In accelerate's way a microBatch is one item, whose gradient is the mean over its examples. */
  const asMean = (micro: Sum): Sum => {
    if (micro.items === 0) return micro;
    const mean = <T extends tf.Tensor>(t: T): T => {
      const out = t.div(micro.items) as T;
      t.dispose();
      return out;
    };
    const gradients: Tensors = {};
    for (const [path, g] of Object.entries(micro.gradients)) gradients[path] = mean(g);
    return { gradients, loss: mean(micro.loss), items: 1 };
  };
  const add = (a: Sum, b: Sum): Sum => {
    const plus = <T extends tf.Tensor>(x: T, y: T): T => {
      const out = tf.add(x, y) as T;
      x.dispose();
      y.dispose();
      return out;
    };
    const gradients: Tensors = {};
    const inPlace: { a: tf.Tensor; b: tf.Tensor }[] = [];
    for (const [path, x] of Object.entries(a.gradients)) {
      const y = b.gradients[path];
      if (isWritable(x)) {
        inPlace.push({ a: x, b: y });
        gradients[path] = x;
      } else gradients[path] = plus(x, y);
    }
    applyUpdate(plusInto, inPlace);
    for (const { b: y } of inPlace) y.dispose();
    return { gradients, loss: plus<Scalar>(a.loss, b.loss), items: a.items + b.items };
  };
  return {
    name: 'accumulation',
    fills: WINDOW,
    length,
    apply({ hooks }: Host) {
      hooks.onAccumulate.tap((given, { index, endsWindow }) => {
        const micro = partialWindow === 'accelerate' ? asMean(given) : given;
        const total = index === 0 || !sum ? micro : add(sum, micro);
        sum = endsWindow ? null : total;
        if (!endsWindow || partialWindow === 'items') return total;
        // The gradient of a short window is divided by the whole length; the loss that is logged stays its mean.
        const loss = total.loss.mul(length / Math.max(1, total.items)) as Scalar;
        total.loss.dispose();
        return { ...total, loss, items: length };
      });
    },
    settings: () => ({ partialWindow }),
    dispose() {
      for (const tensor of [...Object.values(sum?.gradients ?? {}), ...(sum ? [sum.loss] : [])]) tensor.dispose();
      sum = null;
    },
  };
};
