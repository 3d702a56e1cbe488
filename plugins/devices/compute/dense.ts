import type { Tensor, Tensor2D } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { differentiable } from '../../../core/index.js';
import { fused } from './fused.js';
import { inFull } from './half.js';

/** The sum over all but the last axis: [..., c] to [c]. */
export function columnSum(x: Tensor): Tensor {
  const c = x.shape[x.rank - 1];
  const flat = x.reshape([-1, c]);
  return fused('columnSum', { x: flat })?.[0] ?? tf.matMul(tf.ones([1, flat.shape[0]]), flat as Tensor2D).reshape([c]);
}

/** x [n, h, w, c] with a row for each example, [n, c], added to all of its pixels. */
export const addToPixels = (x: Tensor, rows: Tensor): Tensor =>
  differentiable(
    { x, rows },
    () => x.add(rows.reshape([x.shape[0], 1, 1, -1])),
    (dy) => ({ x: () => dy, rows: () => fused('pixelSum', { x: dy })?.[0] ?? dy.sum([1, 2]) }),
  );

/** x [..., in] times w [in, out], plus bias [out]. */
export function dense(x: Tensor, w: Tensor, bias?: Tensor): Tensor {
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
        // What is trained is in single precision, and its gradient with it.
        w: () => inFull(tf.matMul(flat as Tensor2D, g(), true, false)),
        bias: () => columnSum(dy),
      };
    },
  );
}

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
