import { differentiable } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { fused } from './fused.js';
import { inFull, storedAs } from './half.js';

/** x sigmoid(x), as plain operations. */
export const sigmoidTimes = (x: Tensor): Tensor => x.mul(tf.sigmoid(x));
/** The derivative of x sigmoid(x). */
export const siluSlope = (x: Tensor): Tensor => {
  const s = tf.sigmoid(x);
  return s.mul(x.mul(tf.sub(1, s)).add(1));
};

/** x sigmoid(x). */
export const silu = (x: Tensor): Tensor =>
  differentiable(
    { x },
    (save) => {
      save([x]);
      return fused('silu', { x })?.[0] ?? sigmoidTimes(x);
    },
    (dy, [input]) => ({
      x: () => fused('siluGrad', { x: input, dy })?.[0] ?? storedAs(input, inFull(dy).mul(siluSlope(inFull(input)))),
    }),
  );

/** x sigmoid(1.702 x): CLIP's approximation of gelu. */
export const quickGelu = (x: Tensor): Tensor => x.mul(tf.sigmoid(x.mul(1.702)));

const SQRT_HALF = Math.SQRT1_2;
const geluOf = (x: Tensor): Tensor => x.mul(tf.erf(x.mul(SQRT_HALF)).add(1)).mul(0.5);
const geluSlope = (x: Tensor): Tensor =>
  tf
    .erf(x.mul(SQRT_HALF))
    .add(1)
    .mul(0.5)
    .add(x.mul(tf.exp(x.square().mul(-0.5))).mul(1 / Math.sqrt(2 * Math.PI)));

/** x Phi(x), exact. */
export const gelu = (x: Tensor): Tensor =>
  differentiable(
    { x },
    (save) => {
      save([x]);
      return geluOf(x);
    },
    (dy, [input]) => ({ x: () => dy.mul(geluSlope(input)) }),
  );

/** The first half of the last axis times gelu of the second: [..., 2 c] to [..., c]. */
export const geglu = (x: Tensor): Tensor =>
  differentiable(
    { x },
    (save) => {
      save([x]);
      const made = fused('geglu', { x })?.[0];
      if (made) return made;
      const [value, gate] = tf.split(inFull(x), 2, -1);
      return storedAs(x, value.mul(geluOf(gate)));
    },
    (dy, [input]) => ({
      x: () => {
        const made = fused('gegluGrad', { x: input, dy })?.[0];
        if (made) return made;
        const [[value, gate], g] = [tf.split(inFull(input), 2, -1), inFull(dy)];
        return storedAs(input, tf.concat([g.mul(geluOf(gate)), g.mul(value).mul(geluSlope(gate))], -1));
      },
    }),
  );
