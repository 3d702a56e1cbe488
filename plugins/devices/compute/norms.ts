import { differentiable } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { sigmoidTimes, siluSlope } from './activations.js';
import { columnSum } from './dense.js';
import { fused } from './fused.js';
import { inFull, storedAs } from './half.js';

/**
 * Group normalization of x [n, ..., c] (Wu and He 2018), with silu behind it where `activate` is set.
 * gamma and beta are [c].
 */
export function groupNorm(x: Tensor, gamma: Tensor, beta: Tensor, groups: number, epsilon: number, activate: boolean): Tensor {
  const n = x.shape[0];
  const c = x.shape[x.rank - 1];
  const grouped = [n, -1, groups, c / groups];
  const attributes = { groups, epsilon, activate };
  /** x normalized, and 1 / standard deviation [n, 1, groups, 1]. */
  const normalize = (input: Tensor) => {
    const g = inFull(input).reshape(grouped);
    const centred = g.sub(g.mean([1, 3], true));
    const rstd = tf.rsqrt(centred.square().mean([1, 3], true).add(epsilon));
    return { normal: centred.mul(rstd), rstd };
  };
  const affine = (normal: Tensor) => normal.reshape([n, -1, c]).mul(gamma).add(beta);
  /** dy before the activation. */
  const inner = (dy: Tensor, normal: Tensor) => {
    const g = inFull(dy).reshape([n, -1, c]);
    return activate ? g.mul(siluSlope(affine(normal))) : g;
  };
  return differentiable(
    { x, gamma, beta },
    (save) => {
      const made = fused('groupNorm', { x, gamma, beta }, attributes);
      save([x, ...(made?.slice(1) ?? [])]);
      if (made) return made[0];
      const y = affine(normalize(x).normal);
      return storedAs(x, (activate ? sigmoidTimes(y) : y).reshape(x.shape));
    },
    (dy, [input, stats]) => {
      const made = fused('groupNormGrad', { x: input, dy, gamma, beta, ...(stats ? { stats } : {}) }, attributes);
      if (made) return { x: () => made[0], gamma: () => columnSum(made[1]), beta: () => columnSum(made[2]) };
      return {
        x: () => {
          const { normal, rstd } = normalize(input);
          const g = inner(dy, normal).mul(gamma).reshape(grouped);
          const mean = g.mean([1, 3], true);
          const along = g.mul(normal).mean([1, 3], true);
          return storedAs(input, g.sub(mean).sub(normal.mul(along)).mul(rstd).reshape(x.shape));
        },
        gamma: () => {
          const { normal } = normalize(input);
          return columnSum(inner(dy, normal).mul(normal.reshape([n, -1, c])));
        },
        beta: () => columnSum(inner(dy, normalize(input).normal)),
      };
    },
  );
}

/** Layer normalization over the last axis (Ba, Kiros and Hinton 2016). */
export function layerNorm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: number): Tensor {
  const normalize = (input: Tensor) => {
    const single = inFull(input);
    const centred = single.sub(single.mean(-1, true));
    const rstd = tf.rsqrt(centred.square().mean(-1, true).add(epsilon));
    return { normal: centred.mul(rstd), rstd };
  };
  return differentiable(
    { x, gamma, beta },
    (save) => {
      const made = fused('layerNorm', { x, gamma, beta }, { epsilon });
      save([x, ...(made?.slice(1) ?? [])]);
      return made?.[0] ?? storedAs(x, normalize(x).normal.mul(gamma).add(beta));
    },
    (dy, [input, stats]) => {
      const made = fused('layerNormGrad', { x: input, dy, gamma, ...(stats ? { stats } : {}) }, { epsilon });
      if (made) {
        const gammas = () => made[1] ?? (fused('layerNormGammaGrad', { x: input, dy, stats }) as Tensor[])[0];
        return { x: () => made[0], gamma: () => columnSum(gammas()), beta: () => columnSum(made[2] ?? dy) };
      }
      return {
        x: () => {
          const { normal, rstd } = normalize(input);
          const g = inFull(dy).mul(gamma);
          const along = g.mul(normal).mean(-1, true);
          return storedAs(input, g.sub(g.mean(-1, true)).sub(normal.mul(along)).mul(rstd));
        },
        gamma: () => columnSum(dy.mul(normalize(input).normal)),
        beta: () => columnSum(dy),
      };
    },
  );
}
