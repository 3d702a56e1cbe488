import { describe, expect, test } from 'vitest';
import type { Batch } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { accuracy, topK } from '../../../plugins/objectives/losses/metrics.js';
import { supervisedObjective as objective, type SupervisedObjectiveOptions } from '../../../plugins/objectives/supervised-objective.js';
import { use } from '../../support/devices.js';

describe('losses and metrics', () => {
  const one = async (options: SupervisedObjectiveOptions, predicted: tf.Tensor, target: tf.Tensor, gives?: 'probabilities') => {
    const model = { forward: () => predicted, ...(gives ? { outputs: gives } : {}) };
    const batch = { tensors: { x: predicted, y: target } } as unknown as Batch;
    return (
      await objective(options)
        .loss({} as never, model as never, batch)
        .data()
    )[0];
  };
  test('equal TensorFlow.js’s own', async () => {
    await use('wasm');
    const logits = tf.tensor2d([
      [1, -2, 0.5],
      [0.3, 0.2, -3],
      [20, -30, 5],
      [-1, -1, 2],
    ]);
    const classes = tf.tensor1d([0, 1, 2, 2], 'int32');
    const hot = tf.oneHot(classes, 3);
    const expected = (await tf.losses.softmaxCrossEntropy(hot, logits).data())[0];
    expect(await one({ loss: 'cross-entropy' }, logits, classes)).toBeCloseTo(expected, 5);
    expect(await one({ loss: 'cross-entropy' }, logits, hot)).toBeCloseTo(expected, 5);
    expect(await one({ loss: 'cross-entropy' }, logits, classes.expandDims(1))).toBeCloseTo(expected, 5);
    const probabilities = tf.softmax(logits.clipByValue(-5, 5));
    const bounded = (await tf.losses.softmaxCrossEntropy(hot, logits.clipByValue(-5, 5)).data())[0];
    expect(await one({ loss: 'cross-entropy' }, probabilities, classes, 'probabilities')).toBeCloseTo(bounded, 5);
    const smoothed = (await tf.losses.softmaxCrossEntropy(hot, logits, undefined, 0.1).data())[0];
    expect(await one({ loss: 'cross-entropy', labelSmoothing: 0.1 }, logits, classes)).toBeCloseTo(smoothed, 5);
    const yes = tf.tensor2d([
      [1, 0, 0],
      [0, 1, 1],
      [1, 1, 0],
      [0, 0, 1],
    ]);
    const binary = (await tf.losses.sigmoidCrossEntropy(yes, logits).data())[0];
    expect(await one({ loss: 'binary-cross-entropy' }, logits, yes)).toBeCloseTo(binary, 5);
    expect(await one({ loss: 'binary-cross-entropy', outputs: 'probabilities' }, tf.sigmoid(logits.clipByValue(-5, 5)), yes)).toBeCloseTo(
      (await tf.losses.sigmoidCrossEntropy(yes, logits.clipByValue(-5, 5)).data())[0],
      4,
    );
    expect(await one({ loss: 'mse' }, logits, yes)).toBeCloseTo((await tf.losses.meanSquaredError(yes, logits).data())[0], 3);
    expect(await one({ loss: 'mae' }, logits, yes)).toBeCloseTo((await tf.losses.absoluteDifference(yes, logits).data())[0], 5);
    expect(await one({ loss: 'huber', delta: 2 }, logits, yes)).toBeCloseTo(
      (await tf.losses.huberLoss(yes, logits, undefined, 2).data())[0],
      5,
    );
    expect(await one({ loss: (p, t) => p.sub(t).pow(4) }, tf.tensor1d([1, 3]), tf.tensor1d([0, 1]))).toBe(8.5);
  });

  test('accuracy and top-k take labels, one-hot rows and single outputs', async () => {
    const rows = tf.tensor2d([
      [5, 1, 2],
      [1, 2, 3],
      [3, 2, 1],
    ]);
    const values = async (t: tf.Tensor) => Array.from(await t.data());
    const target = tf.tensor1d([0, 1, 2], 'int32');
    for (const given of [target, tf.oneHot(target, 3)]) {
      expect(await values(accuracy()(rows, given, 'logits'))).toEqual([1, 0, 0]);
      expect(await values(topK(2)(rows, given, 'logits'))).toEqual([1, 1, 0]);
    }
    const single = tf.tensor2d([[0.2], [0.7], [-1]]);
    expect(await values(accuracy()(single, tf.tensor1d([0, 1, 0]), 'probabilities'))).toEqual([1, 1, 1]);
    expect(await values(accuracy()(single, tf.tensor1d([1, 1, 1]), 'logits'))).toEqual([1, 1, 0]);
  });
});
