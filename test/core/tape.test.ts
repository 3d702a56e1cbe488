import { describe, expect, test } from 'vitest';
import { backward, recomputed, type SteploomError } from '../../core/index.js';
import * as tf from '../../core/tf.js';

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

describe('what is computed again on the way back', () => {
  const [x, w, v] = [
    [2, 3],
    [3, 3],
    [3, 2],
  ].map((shape, i) => tf.variable(tf.randomNormal(shape, 0, 1, 'float32', i + 1)));
  const parameters = { x, w, v };
  type Around = (inputs: tf.Tensor[], compute: (inputs: tf.Tensor[]) => tf.Tensor) => tf.Tensor;
  const plain: Around = (inputs, compute) => compute(inputs);
  /** x is used in the part several times, and after it; a weight is used within and outside; parts are in parts. */
  const loss = (around: Around) => () => {
    const first = around([x], ([a]) => tf.tidy(() => a.matMul(w).add(a).sin().mul(a)));
    const skipped = first.add(x);
    const second = around([skipped, first], ([a, b]) => around([a], ([c]) => c.matMul(w).square()).add(b));
    return second.mul(x).matMul(v).mean() as tf.Scalar;
  };
  const bits = ({ gradients, loss: value }: ReturnType<typeof backward>) => {
    const all = { ...gradients, value };
    const data = Object.fromEntries(Object.entries(all).map(([name, tensor]) => [name, [...tensor.dataSync()]]));
    tf.dispose(all);
    return data;
  };

  test('has the gradients of a plain call, bit for bit, and leaves nothing', () => {
    const wanted = bits(backward(loss(plain), parameters, () => 1));
    const before = tf.memory();
    expect(bits(backward(loss(recomputed), parameters, () => 1))).toEqual(wanted);
    expect(tf.memory()).toMatchObject({ numTensors: before.numTensors, numDataBuffers: before.numDataBuffers });
    // Without a tape it is a plain call.
    const alone = tf.tidy(() => loss(recomputed)().dataSync()[0]);
    expect([alone]).toEqual(wanted.value);
  });

  test('is computed twice where something before it or in it is trained, once elsewhere', () => {
    const counts = { trained: 0, frozen: 0 };
    const constant = tf.tensor2d([1, 2, 3], [1, 3]);
    const counted = (name: keyof typeof counts) => (inputs: tf.Tensor[]) => {
      counts[name]++;
      return inputs[0].square();
    };
    const { gradients } = backward(
      () =>
        recomputed([constant], counted('frozen'))
          .add(recomputed([x], counted('trained')))
          .sum() as tf.Scalar,
      { x },
      () => 1,
    );
    expect(counts).toEqual({ trained: 2, frozen: 1 });
    expect(Array.from(gradients.x.dataSync())).toEqual(Array.from(x.dataSync(), (value) => 2 * value));
  });

  test('may give back what it was given', () => {
    const same = (around: Around) => () =>
      around([x], ([a]) => a)
        .mul(x)
        .sum() as tf.Scalar;
    expect(bits(backward(same(recomputed), { x }, () => 1))).toEqual(bits(backward(same(plain), { x }, () => 1)));
  });

  test('announces gradients when they are complete', () => {
    const wanted = bits(backward(loss(plain), parameters, () => 1));
    const seen: string[] = [];
    const { gradients } = backward(
      loss(recomputed),
      parameters,
      () => 1,
      (path, gradient) => {
        seen.push(path);
        expect([...gradient.dataSync()], path).toEqual(wanted[path]);
      },
    );
    expect(seen[0]).toBe('v');
    expect(seen.sort()).toEqual(['v', 'w', 'x']);
    tf.dispose(gradients);
  });

  test('that throws on the way there or back leaves no tensor and no open tape', () => {
    const before = tf.memory().numTensors;
    let calls = 0;
    for (const bad of [1, 2])
      expect(() =>
        backward(
          () =>
            recomputed([x], ([a]) => {
              const y = a.square();
              if (++calls % 2 === bad % 2) throw new Error('broken');
              return y;
            }).sum() as tf.Scalar,
          { x },
          () => 1,
        ),
      ).toThrow('broken');
    expect(tf.memory().numTensors).toBe(before);
    expect(tf.tidy(() => x.square().sum().dataSync())).toHaveLength(1);
  });
});
