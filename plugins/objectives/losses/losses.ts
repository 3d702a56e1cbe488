import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { Outputs } from '../../models/layers/outputs.js';

/** What a loss or a metric compares: the model's output and the column `y`. Returns one value an example, or a mean. */
export type Comparison = (predicted: Tensor, target: Tensor, outputs: Outputs) => Tensor;

export const LOSSES = ['cross-entropy', 'binary-cross-entropy', 'mse', 'mae', 'huber'] as const;
export type LossName = (typeof LOSSES)[number];

export interface LossOptions {
  /** Cross-entropy's targets are mixed with this share of an even distribution (Szegedy et al. 2016). */
  readonly labelSmoothing?: number;
  /** Where huber goes over from squares to absolute values (Huber 1964). */
  readonly delta?: number;
}

/** Keeps logarithms finite, as tfjs-layers does. */
const TINY = 1e-7;

/** Labels [n, ...] as one-hot [n, ..., classes]; what has the outputs' shape already stays. */
export function oneHot(target: Tensor, predicted: Tensor): Tensor {
  if (target.rank === predicted.rank && target.shape[target.rank - 1] === predicted.shape[predicted.rank - 1])
    return target.dtype === 'float32' ? target : target.toFloat().mul(1);
  const classes = predicted.shape[predicted.rank - 1] as number;
  const labels = (target.rank === predicted.rank ? target.squeeze([-1]) : target).toInt();
  // Compared, not scattered: the same true floats on every device.
  const numbers = tf.range(0, classes, 1, 'int32');
  return tf.equal(labels.expandDims(-1), numbers).toFloat().mul(1);
}

/** The mean of each example, over everything but the first axis. */
const perExample = (x: Tensor): Tensor => (x.rank <= 1 ? x : x.reshape([x.shape[0], -1]).mean(1));

function crossEntropy(predicted: Tensor, target: Tensor, fromLogits: boolean, smoothing: number): Tensor {
  const hot = oneHot(target, predicted);
  const classes = predicted.shape[predicted.rank - 1] as number;
  const wanted = smoothing > 0 ? hot.mul(1 - smoothing).add(smoothing / classes) : hot;
  const logs = fromLogits ? logSoftmax(predicted) : tf.log(tf.clipByValue(predicted.div(predicted.sum(-1, true)), TINY, 1 - TINY));
  return perExample(logs.mul(wanted).sum(-1).neg());
}

/** Written out: tf.logSoftmax has no kernel on some devices. */
function logSoftmax(x: Tensor): Tensor {
  const shifted = x.sub(x.max(-1, true));
  return shifted.sub(shifted.exp().sum(-1, true).log());
}

/** Of independent yes-or-no outputs; max(x, 0) - x y + log(1 + exp(-|x|)) for logits, which does not overflow. */
function binaryCrossEntropy(predicted: Tensor, given: Tensor, fromLogits: boolean): Tensor {
  const target = given.toFloat().mul(1).reshape(predicted.shape);
  if (fromLogits) return perExample(predicted.relu().sub(predicted.mul(target)).add(predicted.abs().neg().exp().log1p()));
  const p = tf.clipByValue(predicted, TINY, 1 - TINY);
  return perExample(
    target
      .mul(p.log())
      .add(tf.sub(1, target).mul(tf.sub(1, p).log()))
      .neg(),
  );
}

function huber(difference: Tensor, delta: number): Tensor {
  const size = difference.abs();
  const inner = tf.minimum(size, delta);
  return inner.square().mul(0.5).add(size.sub(inner).mul(delta));
}

/** A loss by name, as values an example. */
export function lossByName(name: LossName, { labelSmoothing = 0, delta = 1 }: LossOptions = {}): Comparison {
  const difference = (f: (d: Tensor) => Tensor): Comparison => {
    return (predicted, target) => perExample(f(predicted.sub(target.toFloat().reshape(predicted.shape))));
  };
  return {
    'cross-entropy': ((p, t, outputs) => crossEntropy(p, t, outputs === 'logits', labelSmoothing)) as Comparison,
    'binary-cross-entropy': ((p, t, outputs) => binaryCrossEntropy(p, t, outputs === 'logits')) as Comparison,
    mse: difference((d) => d.square()),
    mae: difference((d) => d.abs()),
    huber: difference((d) => huber(d, delta)),
  }[name];
}
