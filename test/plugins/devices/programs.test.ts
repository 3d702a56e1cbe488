import { beforeAll, describe, expect, test } from 'vitest';
import { seededRandom } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { type Program, tensorArithmetic } from '../../../plugins/devices/compute/program.js';
import { total } from '../../../plugins/devices/compute/reduce.js';
import { applyUpdate } from '../../../plugins/devices/compute/update.js';
import { use } from '../../support/devices.js';

/** Every operation a program may use, with arrays, factors and constants on both sides. */
const everything: Program = {
  name: 'every operation',
  arrays: ['a', 'b'],
  writes: ['a', 'b'],
  factors: ['f', 'g'],
  body: (x, { a, b, f, g }) => {
    const one = x.add(x.mul(a, f), x.div(b, x.add(x.sqrt(x.abs(a)), 0.1)));
    const two = x.sub(x.min(one, x.max(b, -0.3)), x.mul(x.sign(a), g));
    return { a: one, b: x.sub(1, x.mul(two, x.mul(f, g))) };
  },
};

const squares: Program = {
  name: 'squares',
  arrays: ['a'],
  writes: [],
  factors: ['f'],
  body: (x, { a, f }) => ({ sum: x.mul(x.mul(a, a), f) }),
};

const drawn = (name: string, size: number): Float32Array => seededRandom(5).named(name, size).normals(new Float32Array(size));

describe('programs on the cpu', () => {
  beforeAll(() => use('cpu'));

  // A piece is 1,024 elements: below one, one, and several with a rest.
  test.each([1, 5, 1024, 2500])('%i elements: the bits of TensorFlow.js’s operations', (size) => {
    const before = { a: drawn('a', size), b: drawn('b', size) };
    before.a[0] = 0;
    const variables = { a: tf.variable(tf.tensor(before.a.slice())), b: tf.variable(tf.tensor(before.b.slice())) };
    const g = tf.scalar(0.7);
    applyUpdate(everything, [variables], { f: 0.1, g });
    const expected = everything.body<tf.Tensor>(tensorArithmetic, {
      a: tf.tensor(before.a),
      b: tf.tensor(before.b),
      f: tf.scalar(0.1),
      g,
    });
    for (const name of ['a', 'b'] as const) expect(variables[name].dataSync(), name).toEqual(expected[name].dataSync());
  });

  test('a sum over several groups has the bits of TensorFlow.js’s operations', () => {
    const groups = [3, 1500, 40].map((size) => tf.tensor(drawn('sum', size)));
    const sum = total(
      squares,
      groups.map((a) => ({ a })),
      { f: 0.3 },
    );
    const expected = tf.addN(groups.map((a) => a.mul(a).mul(tf.scalar(0.3)).sum()));
    expect(sum.dataSync()).toEqual(expected.dataSync());
  });

  test('nothing changes where finite is 0', () => {
    const [a, b] = [tf.variable(tf.tensor(drawn('a', 9))), tf.variable(tf.tensor(drawn('b', 9)))];
    applyUpdate(everything, [{ a, b }], { f: Number.NaN, g: 1 }, tf.scalar(0));
    expect(a.dataSync()).toEqual(drawn('a', 9));
  });

  test('an array that somebody holds keeps its values, and no tensor is made', () => {
    const given = drawn('a', 9);
    const [a, b] = [tf.variable(tf.tensor(given)), tf.variable(tf.tensor(drawn('b', 9)))];
    const held = a.dataSync();
    const tensors = tf.memory().numTensors;
    applyUpdate(everything, [{ a, b }], { f: 0.1, g: 1 });
    expect(tf.memory().numTensors).toBe(tensors);
    expect(held).toEqual(drawn('a', 9));
    expect(given).toEqual(drawn('a', 9));
    expect(a.dataSync()).not.toEqual(held);
  });
});
