import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { SoftmaxAttributes } from '../compute/contract.js';
import type { WebGPUDevice } from './device.js';
import { ROW_SUM, rowwise } from './group-sums.js';
import { dispatchVectors, newLike, widthOf } from './vectors.js';

/** Softmax of each row of scale * x. */
export function softmax(device: WebGPUDevice, [x]: TensorInfo[], { scale }: SoftmaxAttributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const width = widthOf(c);
  const { groups, sizes, head } = rowwise(tf.util.sizeFromShape(x.shape) / c, c / width);
  const result = newLike(device, x);
  dispatchVectors(device, {
    name: `softmax ${scale}`,
    width,
    read: { x },
    write: { result },
    sizes,
    functions: ROW_SUM,
    body: `${head}
  var most = V(-3.4e38f);
  for (var i = lane; i < columns; i += 64u) { most = max(most, x(start + i) * ${scale}f); }
  let top = rowMax(largest(most), local);
  var total = V(0f);
  for (var i = lane; i < columns; i += 64u) { total += exp(x(start + i) * ${scale}f - top); }
  let sum = rowSum(added(total), local);
  if (live) { for (var i = lane; i < columns; i += 64u) { result(start + i, exp(x(start + i) * ${scale}f - top) / sum); } }`,
    groups,
  });
  return [result];
}

/** dx, from the result p and its gradient dp. */
export function softmaxGrad(device: WebGPUDevice, [p, dp]: TensorInfo[], { scale }: SoftmaxAttributes): TensorInfo[] {
  const c = p.shape[p.shape.length - 1];
  const width = widthOf(c);
  const { groups, sizes, head } = rowwise(tf.util.sizeFromShape(p.shape) / c, c / width);
  const result = newLike(device, p);
  dispatchVectors(device, {
    name: `softmaxGrad ${scale}`,
    width,
    read: { p, dp },
    write: { result },
    sizes,
    functions: ROW_SUM,
    body: `${head}
  var total = V(0f);
  for (var i = lane; i < columns; i += 64u) { total += p(start + i) * dp(start + i); }
  let sum = rowSum(added(total), local);
  if (live) { for (var i = lane; i < columns; i += 64u) { let k = start + i; result(k, p(k) * (dp(k) - sum) * ${scale}f); } }`,
    groups,
  });
  return [result];
}
