import type { Scalar, Tensor, Variable } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { codeStorage } from '../../devices/compute/codes.js';
import type { Constants8bit, FactorsAdamW, Parameter8bit } from '../../devices/compute/contract.js';
import { BLOCK_SIZE, middles, SIGNED, SIGNED_ZERO, UNSIGNED } from '../../devices/compute/dynamic-map.js';

/** A step of 8-bit AdamW in TensorFlow.js operations, for a device without a kernel. `gradient` is the mean; inside a tidy. */
export function portableStep(
  { p, m, v, absmax }: Parameter8bit,
  gradient: Tensor,
  { rate, decay, correction1, correction2 }: FactorsAdamW,
  finite: Scalar,
  { beta1, beta2, epsilon, bound }: Constants8bit,
): void {
  const { store, load, nearest } = codeStorage();
  const blocks = Math.ceil(p.size / BLOCK_SIZE);
  const padding: [number, number][] = [[0, blocks * BLOCK_SIZE - p.size]];
  const inBlocks = (x: Tensor) => tf.pad(x.reshape([-1]), padding).reshape([blocks, BLOCK_SIZE]);
  const [topM, topV] = tf.split(absmax, 2, 0).map((x) => x.reshape([blocks, 1]));
  const decode = (stored: Tensor, map: Float32Array, top: Tensor) => inBlocks(tf.gather(tf.tensor1d(map), load(stored))).mul(top);
  const g = inBlocks(gradient);
  const mean = decode(m, SIGNED, topM)
    .mul(beta1)
    .add(g.mul(1 - beta1));
  const square = decode(v, UNSIGNED, topV)
    .mul(beta2)
    .add(g.square().mul(1 - beta2));
  const direction = mean.mul(correction1).div(square.mul(correction2).sqrt().add(epsilon)).clipByValue(-bound, bound);
  const flat = direction.reshape([-1]).slice(0, p.size).reshape(p.shape);
  (p as Variable).assign(p.sub(flat.add(p.mul(decay)).mul(finite.mul(rate))) as Tensor<tf.Rank>);

  const encode = (x: Tensor, old: Variable, map: Float32Array) => {
    const top = x.abs().max(1, true);
    const divide = tf.where(top.greater(0), top, tf.onesLike(top));
    let code = nearest(x.div(divide).reshape([-1]), [...middles(map)]).slice(0, p.size);
    // A negative number never takes the code of 0.
    if (map === SIGNED)
      code = tf.where(
        tf.logicalAnd(x.reshape([-1]).slice(0, p.size).less(0), code.equal(SIGNED_ZERO)),
        code.sub(tf.scalar(1, 'int32')),
        code,
      );
    old.assign(store(tf.where(finite.greater(0), code, load(old)).toInt()) as Tensor<tf.Rank>);
    return divide;
  };
  const next = tf.concat([encode(mean, m as Variable, SIGNED), encode(square, v as Variable, UNSIGNED)]).reshape(absmax.shape);
  (absmax as Variable).assign(tf.where(finite.greater(0), next, absmax) as Tensor<tf.Rank>);
}
