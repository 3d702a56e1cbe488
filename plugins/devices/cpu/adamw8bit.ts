import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { DeviceOperations } from '../compute/contract.js';
import { BLOCK_SIZE, middles, nearestCode, SIGNED, SIGNED_ZERO, UNSIGNED } from '../compute/dynamic-map.js';
import { numberOf, valuesOf } from './internals.js';

const [SIGNED_MIDDLES, UNSIGNED_MIDDLES] = [middles(SIGNED), middles(UNSIGNED)];

/** 8-bit AdamW as a plain loop. */
export const adamw8bit: DeviceOperations['adamw8bit'] = (list, factors, finite, { beta1, beta2, epsilon, bound }) => {
  if (numberOf(finite) === 0) return;
  const { rate, decay } = factors;
  const [scale, correction1, correction2] = [factors.scale, factors.correction1, factors.correction2].map(numberOf);
  const [means, squares] = [new Float32Array(BLOCK_SIZE), new Float32Array(BLOCK_SIZE)];
  for (const { p, g, m, v, absmax } of list) {
    const gradient = valuesOf(g);
    const [codesM, codesV] = [m, v].map((t) => new Uint8Array(valuesOf(t).buffer, valuesOf(t).byteOffset, p.size));
    const tops = valuesOf(absmax) as Float32Array;
    const blocks = tops.length / 2;
    const weights = Float32Array.from(valuesOf(p));
    for (let block = 0; block < blocks; block++) {
      const start = block * BLOCK_SIZE;
      const count = Math.min(BLOCK_SIZE, p.size - start);
      let [topM, topV] = [0, 0];
      for (let i = 0; i < count; i++) {
        const x = Math.fround(gradient[start + i] * scale);
        const mean = Math.fround(SIGNED[codesM[start + i]] * tops[block]);
        const square = Math.fround(UNSIGNED[codesV[start + i]] * tops[blocks + block]);
        means[i] = mean * beta1 + x * (1 - beta1);
        squares[i] = square * beta2 + x * x * (1 - beta2);
        topM = Math.max(topM, Math.abs(means[i]));
        topV = Math.max(topV, squares[i]);
        const direction = (means[i] * correction1) / (Math.sqrt(squares[i] * correction2) + epsilon);
        const bounded = Math.max(-bound, Math.min(bound, direction));
        weights[start + i] -= rate * (bounded + decay * weights[start + i]);
      }
      const [divideM, divideV] = [topM || 1, topV || 1];
      tops[block] = divideM;
      tops[blocks + block] = divideV;
      for (let i = 0; i < count; i++) {
        const code = nearestCode(Math.fround(means[i] / divideM), SIGNED_MIDDLES);
        // A negative number never takes the code of 0.
        codesM[start + i] = means[i] < 0 && code === SIGNED_ZERO ? SIGNED_ZERO - 1 : code;
        codesV[start + i] = nearestCode(Math.fround(squares[i] / divideV), UNSIGNED_MIDDLES);
      }
    }
    const next = tf.tensor(weights, p.shape);
    (p as tf.Variable).assign(next as Tensor<tf.Rank>);
    next.dispose();
  }
};
