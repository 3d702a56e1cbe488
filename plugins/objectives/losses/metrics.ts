import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { type Comparison, oneHot } from './losses.js';

/** Class numbers [n] of labels or one-hot rows. */
const classesOf = (target: Tensor, predicted: Tensor): Tensor => oneHot(target, predicted).argMax(-1);

/** 1 where the largest output is the right class; for a single output, where it lies on the right side of `threshold` (0.5 of probabilities, 0 of logits). */
export const accuracy =
  ({ threshold }: { threshold?: number } = {}): Comparison =>
  (predicted, target, outputs) =>
    predicted.shape[predicted.rank - 1] === 1
      ? tf
          .equal(predicted.greater(threshold ?? (outputs === 'logits' ? 0 : 0.5)).toInt(), target.reshape(predicted.shape).toInt())
          .toFloat()
          .mul(1)
      : tf.equal(predicted.argMax(-1), classesOf(target, predicted)).toFloat().mul(1);

/** 1 where the right class is among the k largest outputs. */
export const topK =
  (k: number): Comparison =>
  (predicted, target) => {
    // Counted, as not every device can sort: the right class is among the first k where fewer than k outputs are larger.
    const right = predicted.mul(oneHot(target, predicted)).sum(-1, true);
    return predicted.greater(right).toFloat().mul(1).sum(-1).less(k).toFloat().mul(1);
  };
