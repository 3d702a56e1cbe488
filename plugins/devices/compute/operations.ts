import type { Tensor, Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { differentiable } from '../../../core/index.js';
import { FUSED, operation } from './contract.js';

// The operations the models are made of, each one node on the tape with its gradient written out. A device may bring a
// fused kernel under a name of FUSED; elsewhere plain TensorFlow.js operations compute the same.

type Named = Record<string, Tensor>;

/** Runs the device's fused kernel if it has one. */
function fused(name: string, inputs: Named, attributes: Record<string, unknown> = {}): Tensor[] | null {
  if (!tf.getKernel(name, tf.getBackend())) return null;
  const out = tf.engine().runKernel(name, inputs as never, attributes as never) as Tensor | Tensor[];
  return Array.isArray(out) ? out : [out];
}

/** The sum over all but the last axis: [..., c] to [c]. */
export function columnSum(x: Tensor): Tensor {
  const c = x.shape[x.rank - 1];
  const flat = x.reshape([-1, c]);
  return fused(FUSED.columnSum, { x: flat })?.[0] ?? tf.matMul(tf.ones([1, flat.shape[0]]), flat as Tensor2D).reshape([c]);
}

/**
 * The mean of (a - b)^2 for each example: [n, ...] both, to [n]. One node: the gradient of TensorFlow.js's own mean multiplies with ones
 * of the whole shape, which are made on the host and sent to the device.
 */
export function squaredErrors(a: Tensor, b: Tensor): Tensor {
  const [n] = a.shape;
  const inner = a.size / n;
  const ones = (shape: number[]) => [n, ...shape.slice(1).map(() => 1)];
  return differentiable(
    { a, b },
    (save) => {
      const difference = tf.sub(a, b);
      save([difference]);
      return difference.square().reshape([n, inner]).mean(1);
    },
    (dy, [difference]) => {
      const each = (sign: number) => difference.mul(dy.mul((sign * 2) / inner).reshape(ones(a.shape)));
      return { a: () => each(1), b: () => each(-1) };
    },
  );
}

/** x [..., in] times w [in, out], plus bias [out]. */
export function linear(x: Tensor, w: Tensor, bias?: Tensor): Tensor {
  const [size, out] = w.shape;
  const shape = [...x.shape.slice(0, -1), out];
  return differentiable(
    bias ? { x, w, bias } : { x, w },
    (save) => {
      const flat = x.reshape([-1, size]) as Tensor2D;
      save([flat, w]);
      const y = bias ? tf.fused.matMul({ a: flat, b: w as Tensor2D, bias }) : tf.matMul(flat, w as Tensor2D);
      return y.reshape(shape);
    },
    (dy, [flat, weight]) => {
      const g = () => dy.reshape([-1, out]) as Tensor2D;
      return {
        x: () => tf.matMul(g(), weight as Tensor2D, false, true).reshape(x.shape),
        w: () => tf.matMul(flat as Tensor2D, g(), true, false),
        bias: () => columnSum(dy),
      };
    },
  );
}

/** x [n, h, w, in] convolved with w [kh, kw, in, out], padded the same on all sides (or TensorFlow's way), plus bias [out]. */
export function conv2d(x: Tensor, w: Tensor, bias: Tensor | undefined, stride: number, pad: number | 'same'): Tensor {
  if (w.shape[0] === 1 && w.shape[1] === 1 && stride === 1 && (pad === 0 || pad === 'same'))
    return linear(x, w.reshape([w.shape[2] as number, w.shape[3] as number]), bias);
  const border = pad === 'same' ? 0 : pad;
  const around: [[number, number], [number, number], [number, number], [number, number]] = [
    [0, 0],
    [border, border],
    [border, border],
    [0, 0],
  ];
  const same = pad === 'same' || (stride === 1 && w.shape[0] === 2 * pad + 1 && w.shape[1] === 2 * pad + 1);
  if (border > 0 && !same && operation('padsBeforeConvolution')) return conv2d(tf.pad(x, around), w, bias, stride, 0);
  const padding = pad === 0 ? 'valid' : same ? 'same' : around;
  const attributes = { strides: stride, pad: padding, dataFormat: 'NHWC', dimRoundingMode: undefined };
  return differentiable(
    bias ? { x, w, bias } : { x, w },
    (save) => {
      save([x, w]);
      return tf.fused.conv2d({ x: x as Tensor4D, filter: w as Tensor4D, strides: stride, pad: padding, ...(bias ? { bias } : {}) });
    },
    (dy, [input, filter]) => ({
      x: () =>
        tf
          .engine()
          .runKernel('Conv2DBackpropInput', { dy, filter } as never, { ...attributes, inputShape: input.shape } as never) as Tensor,
      w: () =>
        tf
          .engine()
          .runKernel('Conv2DBackpropFilter', { x: input, dy } as never, { ...attributes, filterShape: filter.shape } as never) as Tensor,
      bias: () => columnSum(dy),
    }),
  );
}

const sigmoidTimes = (x: Tensor): Tensor => x.mul(tf.sigmoid(x));
/** The derivative of x sigmoid(x). */
const siluSlope = (x: Tensor): Tensor => {
  const s = tf.sigmoid(x);
  return s.mul(x.mul(tf.sub(1, s)).add(1));
};

/** x sigmoid(x). */
export const silu = (x: Tensor): Tensor =>
  differentiable(
    { x },
    (save) => {
      save([x]);
      return fused(FUSED.silu, { x })?.[0] ?? sigmoidTimes(x);
    },
    (dy, [input]) => ({ x: () => fused(FUSED.siluGrad, { x: input, dy })?.[0] ?? dy.mul(siluSlope(input)) }),
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
      const made = fused(FUSED.geglu, { x })?.[0];
      if (made) return made;
      const [value, gate] = tf.split(x, 2, -1);
      return value.mul(geluOf(gate));
    },
    (dy, [input]) => ({
      x: () => {
        const made = fused(FUSED.gegluGrad, { x: input, dy })?.[0];
        if (made) return made;
        const [value, gate] = tf.split(input, 2, -1);
        return tf.concat([dy.mul(geluOf(gate)), dy.mul(value).mul(geluSlope(gate))], -1);
      },
    }),
  );

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
    const g = input.reshape(grouped);
    const centred = g.sub(g.mean([1, 3], true));
    const rstd = tf.rsqrt(centred.square().mean([1, 3], true).add(epsilon));
    return { normal: centred.mul(rstd), rstd };
  };
  const affine = (normal: Tensor) => normal.reshape([n, -1, c]).mul(gamma).add(beta);
  /** dy before the activation. */
  const inner = (dy: Tensor, normal: Tensor) => {
    const g = dy.reshape([n, -1, c]);
    return activate ? g.mul(siluSlope(affine(normal))) : g;
  };
  return differentiable(
    { x, gamma, beta },
    (save) => {
      save([x]);
      const made = fused(FUSED.groupNorm, { x, gamma, beta }, attributes)?.[0];
      if (made) return made;
      const y = affine(normalize(x).normal);
      return (activate ? sigmoidTimes(y) : y).reshape(x.shape);
    },
    (dy, [input]) => {
      const made = fused(FUSED.groupNormGrad, { x: input, dy, gamma, beta }, attributes);
      if (made) return { x: () => made[0], gamma: () => made[1], beta: () => made[2] };
      return {
        x: () => {
          const { normal, rstd } = normalize(input);
          const g = inner(dy, normal).mul(gamma).reshape(grouped);
          const mean = g.mean([1, 3], true);
          const along = g.mul(normal).mean([1, 3], true);
          return g.sub(mean).sub(normal.mul(along)).mul(rstd).reshape(x.shape);
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
    const centred = input.sub(input.mean(-1, true));
    const rstd = tf.rsqrt(centred.square().mean(-1, true).add(epsilon));
    return { normal: centred.mul(rstd), rstd };
  };
  return differentiable(
    { x, gamma, beta },
    (save) => {
      save([x]);
      return fused(FUSED.layerNorm, { x, gamma, beta }, { epsilon })?.[0] ?? normalize(x).normal.mul(gamma).add(beta);
    },
    (dy, [input]) => {
      const made = fused(FUSED.layerNormGrad, { x: input, dy, gamma }, { epsilon });
      if (made) return { x: () => made[0], gamma: () => made[1], beta: () => made[2] };
      return {
        x: () => {
          const { normal, rstd } = normalize(input);
          const g = dy.mul(gamma);
          return g
            .sub(g.mean(-1, true))
            .sub(normal.mul(g.mul(normal).mean(-1, true)))
            .mul(rstd);
        },
        gamma: () => columnSum(dy.mul(normalize(input).normal)),
        beta: () => columnSum(dy),
      };
    },
  );
}

/** [n, l, h d] to [n h, l, d]. */
const splitHeads = (x: Tensor, heads: number): Tensor3D => {
  const [n, l, c] = x.shape;
  return x
    .reshape([n, l, heads, c / heads])
    .transpose([0, 2, 1, 3])
    .reshape([n * heads, l, c / heads]);
};
const joinHeads = (x: Tensor, heads: number): Tensor3D => {
  const [nh, l, d] = x.shape;
  return x
    .reshape([nh / heads, heads, l, d])
    .transpose([0, 2, 1, 3])
    .reshape([nh / heads, l, heads * d]);
};

/**
 * Scaled dot-product attention with several heads: q [n, lq, c], k and v [n, lk, c], split into `heads` along c.
 * `mask` [lq, lk] is added to the scaled scores (causal: -1e9 above the diagonal).
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, heads: number, mask?: Tensor): Tensor {
  const scale = 1 / Math.sqrt((q.shape[2] as number) / heads);
  return differentiable(
    { q, k, v },
    (save) => {
      const [qh, kh, vh] = [q, k, v].map((x) => splitHeads(x, heads));
      const scores = tf.matMul(qh, kh, false, true);
      const p =
        (mask ? null : fused(FUSED.softmax, { x: scores }, { scale })?.[0]) ??
        tf.softmax(mask ? scores.mul(scale).add(mask) : scores.mul(scale));
      save([qh, kh, vh, p]);
      return joinHeads(tf.matMul(p as Tensor3D, vh), heads);
    },
    (dy, saved) => {
      const [qh, kh, vh, p] = saved as Tensor3D[];
      const [dq, dk, dv] = tf.tidy(() => {
        const g = splitHeads(dy, heads);
        const dp = tf.matMul(g, vh, false, true);
        const ds = fused(FUSED.softmaxGrad, { p, dp }, { scale })?.[0] ?? p.mul(dp.sub(dp.mul(p).sum(-1, true))).mul(scale);
        return [tf.matMul(ds as Tensor3D, kh), tf.matMul(ds as Tensor3D, qh, true, false), tf.matMul(p, g, true, false)].map((x) =>
          joinHeads(x, heads),
        );
      });
      return { q: () => dq, k: () => dk, v: () => dv };
    },
  );
}

/** Doubles height and width by repeating pixels. Its gradient is written out: TensorFlow.js's is wrong on cpu for batches. */
export const upsample2x = (x: Tensor): Tensor => {
  const [, h, w] = x.shape;
  return differentiable(
    { x },
    () => tf.image.resizeNearestNeighbor(x as Tensor4D, [h * 2, w * 2]),
    (dy) => ({ x: () => tf.avgPool(dy as Tensor4D, 2, 2, 'valid').mul(4) }),
  );
};

/** Rows of `table` [rows, c] by `ids` (int32, any shape). The gradient is a product: not every device can scatter. */
export const embedding = (table: Tensor, ids: Tensor): Tensor =>
  differentiable(
    { table },
    () => tf.gather(table, ids.flatten()).reshape([...ids.shape, table.shape[1] as number]),
    (dy) => ({
      // webgpu's cast only renames integers, and wasm's oneHot writes integers into floats: times 1 makes true floats.
      table: () =>
        tf.matMul(
          tf.oneHot(ids.flatten().toInt(), table.shape[0]).toFloat().mul(1) as Tensor2D,
          dy.reshape([-1, table.shape[1] as number]) as Tensor2D,
          true,
          false,
        ),
    }),
  );
