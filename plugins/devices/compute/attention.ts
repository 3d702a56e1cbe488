import { differentiable } from '../../../core/index.js';
import type { Tensor, Tensor3D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { operation } from './contract.js';
import { fused } from './fused.js';
import { inFull, storedAs } from './half.js';

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

const softmaxGradient = (p: Tensor, dp: Tensor): Tensor => p.mul(dp.sub(dp.mul(p).sum(-1, true)));

/**
 * Scaled dot-product attention with several heads: q [n, lq, c], k and v [n, lk, c], split into `heads` along c.
 * `mask` [lq, lk] is added to the scaled scores (causal: -1e9 above the diagonal).
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, heads: number, mask?: Tensor): Tensor {
  const scale = 1 / Math.sqrt((q.shape[2] as number) / heads);
  const whole = mask ? undefined : operation('attention');
  if (whole)
    return differentiable(
      { q, k, v },
      (save) => {
        const { result, sumLogs } = whole.forward(q, k, v, heads);
        save([q, k, v, result, sumLogs]);
        return result;
      },
      (dy, saved) => {
        const { dq, dk, dv } = whole.backward(dy, { q: saved[0], k: saved[1], v: saved[2], result: saved[3], sumLogs: saved[4] }, heads);
        return { q: () => dq, k: () => dk, v: () => dv };
      },
    );
  return differentiable(
    { q, k, v },
    (save) => {
      const [qh, kh, vh] = [q, k, v].map((x) => splitHeads(x, heads));
      const scores = tf.matMul(qh, kh, false, true);
      const p =
        (mask ? null : fused('softmax', { x: scores }, { scale })?.[0]) ??
        (mask ? tf.softmax(scores.mul(scale).add(mask)) : storedAs(scores, tf.softmax(scores.mul(scale))));
      save([qh, kh, vh, p]);
      return joinHeads(tf.matMul(p as Tensor3D, vh), heads);
    },
    (dy, saved) => {
      const [qh, kh, vh, p] = saved as Tensor3D[];
      const [dq, dk, dv] = tf.tidy(() => {
        const g = splitHeads(dy, heads);
        const dp = tf.matMul(g, vh, false, true);
        const ds = fused('softmaxGrad', { p, dp }, { scale })?.[0] ?? storedAs(p, softmaxGradient(inFull(p), inFull(dp)).mul(scale));
        return [tf.matMul(ds as Tensor3D, kh), tf.matMul(ds as Tensor3D, qh, true, false), tf.matMul(p, g, true, false)].map((x) =>
          joinHeads(x, heads),
        );
      });
      return { q: () => dq, k: () => dk, v: () => dv };
    },
  );
}

/** The most scores that attentionBySlices computes at once: 16 MiB. */
const SCORES = 1 << 22;

/**
 * The same, without a mask, over so many queries at a time that scores stay small where the device keeps them: for what has too many tokens and needs
 * no gradient (the tape would keep every slice's).
 */
export function attentionBySlices(q: Tensor, k: Tensor, v: Tensor, heads: number): Tensor {
  const [n, length, c] = q.shape;
  const rows = Math.max(1, Math.floor(SCORES / (n * heads * (k.shape[1] as number))));
  if (rows >= length || operation('attention')) return attention(q, k, v, heads);
  const rowsOfResult: Tensor[] = [];
  for (let from = 0; from < length; from += rows)
    rowsOfResult.push(tf.tidy(() => attention(q.slice([0, from, 0], [n, Math.min(rows, length - from), c]), k, v, heads)));
  const whole = tf.concat(rowsOfResult, 1);
  tf.dispose(rowsOfResult);
  return whole;
}
