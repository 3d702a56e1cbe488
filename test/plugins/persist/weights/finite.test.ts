import { expect, test } from 'vitest';
import * as tf from '../../../../core/tf.js';
import { refuseRuined, ruinedAmong } from '../../../../plugins/persist/weights/finite.js';

const data = (...values: number[]) => ({ dtype: 'float32' as const, shape: [values.length], data: Float32Array.from(values) });

test('weights are ruined where a number is not finite, or its square is not', async () => {
  expect(ruinedAmong({ a: data(1, -1e18), b: data(0) })).toBeNull();
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -1e20])
    expect(ruinedAmong({ a: data(1), b: data(1, value) })).toMatch(/^the weights of b are not finite, or so large/);
  // Counts are no weights.
  expect(ruinedAmong({ a: { dtype: 'int32', shape: [1], data: Int32Array.of(2 ** 31 - 1) } })).toBeNull();
});

test('what is ruined is refused before it is written, by name; a sum of squares that overflows is no ruin', async () => {
  const [fine, large, ruined] = [tf.tensor1d([1, 2]), tf.fill([4], 1.8e19), tf.tensor1d([1, Number.NaN])];
  const before = tf.memory().numTensors;
  await refuseRuined('mine', { fine });
  await refuseRuined('mine', { fine, large });
  await expect(refuseRuined('mine', { fine, ruined })).rejects.toThrow(
    /NON_FINITE \(mine\): the weights of ruined are not finite.*nothing was written/,
  );
  expect(tf.memory().numTensors).toBe(before);
  tf.dispose([fine, large, ruined]);
});
