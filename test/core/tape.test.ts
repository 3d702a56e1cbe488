import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { backward, type SteploomError } from '../../core/index.js';

test('gradients equal tf.variableGrads, for reused, unused and branching tensors', () => {
  const variables = {
    a: tf.variable(tf.tensor2d([1, 2, 3, 4], [2, 2])),
    b: tf.variable(tf.tensor2d([0.5, -1, 2, 0.25], [2, 2])),
    unused: tf.variable(tf.tensor1d([7])),
  };
  const forward = () =>
    tf.tidy(() => {
      const c = tf.matMul(variables.a, variables.b).add(variables.a);
      const [left, right] = tf.split(c.concat(c.square(), 1), 2, 1);
      return left.mul(right).sin().add(tf.maximum(c, 1).sum()).mean() as tf.Scalar;
    });
  const expected = tf.variableGrads(forward, [variables.a, variables.b]);
  const before = tf.memory().numTensors;
  const { loss, gradients } = backward(forward, variables, () => 2);
  expect(tf.memory().numTensors).toBe(before + 4);
  expect(loss.dataSync()[0]).toBeCloseTo(expected.value.dataSync()[0], 6);
  for (const [name, variable] of Object.entries({ a: variables.a, b: variables.b })) {
    const ours = gradients[name].dataSync();
    const theirs = expected.grads[variable.name].dataSync();
    for (const [i, x] of theirs.entries()) expect(ours[i]).toBeCloseTo(2 * x, 5);
  }
  expect(Array.from(gradients.unused.dataSync())).toEqual([0]);
});

test('each gradient is announced once, complete, and before what comes after it is walked', () => {
  const variables = { first: tf.variable(tf.scalar(2)), twice: tf.variable(tf.scalar(3)), unused: tf.variable(tf.scalar(1)) };
  const happened: [string, number?][] = [];
  const square = (name: string, x: tf.Tensor) =>
    tf.customGrad((y) => ({
      value: (y as tf.Tensor).square(),
      gradFunc: (dy) => {
        happened.push([`walked ${name}`]);
        return tf.tidy(() => (dy as tf.Tensor).mul(x).mul(2));
      },
    }))(x);
  const { gradients } = backward(
    // `twice` is used early and late: its gradient is complete only when the walk has come to the early use.
    () => square('early', variables.twice).mul(square('middle', variables.first)).add(square('late', variables.twice)) as tf.Scalar,
    variables,
    () => 1,
    (path, gradient) => {
      happened.push([path, gradient.dataSync()[0]]);
    },
  );
  // (t² f² + t²): df = 2 f t² = 36, dt = 2 t f² + 2 t = 30.
  expect(happened).toEqual([['walked late'], ['walked middle'], ['first', 36], ['walked early'], ['twice', 30]]);
  expect(gradients.unused.dataSync()[0]).toBe(0);
});

test('a throw in the forward pass leaves no tensor and no open tape', () => {
  const a = tf.variable(tf.scalar(2));
  const before = tf.memory().numTensors;
  expect(() =>
    backward(
      () => {
        a.square();
        throw new Error('no');
      },
      { a },
      () => 1,
    ),
  ).toThrow('no');
  expect(tf.memory().numTensors).toBe(before);
  expect(
    backward(
      () => a.square() as tf.Scalar,
      { a },
      () => 1,
    ).gradients.a.dataSync()[0],
  ).toBe(4);
});

test('an operation without a gradient is named', () => {
  const a = tf.variable(tf.tensor2d([1, 2, 3, 4], [2, 2]));
  try {
    backward(
      () => tf.topk(a, 1).values.sum() as tf.Scalar,
      { a },
      () => 1,
    );
    expect.unreachable();
  } catch (error) {
    expect((error as SteploomError).message).toMatch(/NO_GRADIENT.*TopK/);
  }
});
