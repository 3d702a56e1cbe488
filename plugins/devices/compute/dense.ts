import { differentiable } from '../../../core/index.js';
import type { Tensor, Tensor2D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { operation } from './contract.js';
import { fused } from './fused.js';
import { inFull } from './half.js';

/** The sum over all but the last axis, in single precision: [..., c] to [c]. */
export function columnSum(x: Tensor): Tensor {
  const c = x.shape[x.rank - 1];
  const flat = x.reshape([-1, c]);
  return fused('columnSum', { x: flat })?.[0] ?? inFull(tf.matMul(tf.ones([1, flat.shape[0]]), flat as Tensor2D)).reshape([c]);
}

/** x [n, h, w, c] with a row for each example, [n, c], added to all of its pixels. */
export const addToPixels = (x: Tensor, rows: Tensor): Tensor =>
  differentiable(
    { x, rows },
    () => x.add(rows.reshape([x.shape[0], 1, 1, -1])),
    (dy) => ({ x: () => dy, rows: () => fused('pixelSum', { x: dy })?.[0] ?? dy.sum([1, 2]) }),
  );

/** Two thin matrices that are added to a weight, as LoRA has them: `a` [in, r] times `b` [r, out] times `scale`. */
export interface Adapter {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
}

/** What else is added to x times w: a bias [out], a tensor like the result, and x times an adapter's matrices. */
export interface DenseOptions {
  readonly bias?: Tensor | undefined;
  readonly rest?: Tensor | undefined;
  readonly adapter?: Adapter | undefined;
}

const scaled = (x: Tensor, scale: number): Tensor => (scale === 1 ? x : x.mul(scale));

/** x [..., in] times w [in, out], and what is added to it: in one pass where the device can. */
export function dense(x: Tensor, w: Tensor, { bias, rest, adapter }: DenseOptions = {}): Tensor {
  const product = operation('product');
  if (!product) {
    const plain = plainDense(x, w, bias);
    const adapted = adapter ? plain.add(plainDense(scaled(plainDense(x, adapter.a), adapter.scale), adapter.b)) : plain;
    return rest ? adapted.add(rest) : adapted;
  }
  const inputs = { x, w, ...(adapter ? { a: adapter.a, b: adapter.b } : {}), ...(bias ? { bias } : {}), ...(rest ? { rest } : {}) };
  return differentiable(
    inputs,
    (save) => {
      const low = adapter ? product(x, adapter.a, { scale: adapter.scale }) : null;
      save([x, w, ...(adapter && low ? [adapter.a, adapter.b, low] : [])]);
      return product(x, w, { bias, rest, more: adapter && low ? { a: low, b: adapter.b } : undefined });
    },
    (dy, [input, weight, a, b, low]) => {
      // What goes back through the second matrix: to x, and to the first.
      const back = adapter ? product(dy, b, { transposeB: true, scale: adapter.scale }) : null;
      return {
        x: () => product(dy, weight, { transposeB: true, more: back ? { a: back, b: a } : undefined }),
        w: () => product(input, dy, { transposeA: true, full: true }),
        a: () => product(input, back as Tensor, { transposeA: true, full: true }),
        b: () => product(low, dy, { transposeA: true, full: true }),
        bias: () => columnSum(dy),
        rest: () => dy,
      };
    },
  );
}

/** x times w, plus bias, of TensorFlow.js's operations. */
function plainDense(x: Tensor, w: Tensor, bias?: Tensor): Tensor {
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
        inFull(
          tf.matMul(
            tf.oneHot(ids.flatten().toInt(), table.shape[0]).toFloat().mul(1) as Tensor2D,
            dy.reshape([-1, table.shape[1] as number]) as Tensor2D,
            true,
            false,
          ),
        ),
    }),
  );
