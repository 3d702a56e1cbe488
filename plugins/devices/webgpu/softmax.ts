import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { SoftmaxAttributes } from '../compute/contract.js';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';
import { ROW_SUM, rowwise } from './group-sums.js';

/** Softmax of each row of scale * x. */
export function softmax(device: WebGPUDevice, [x]: TensorInfo[], { scale }: SoftmaxAttributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const { groups, head } = rowwise(tf.util.sizeFromShape(x.shape) / c);
  const out = device.newTensor(x.shape);
  dispatch(device, {
    name: `softmax ${scale}`,
    code: () => `${buffers(['x'], ['result'])}
${ROW_SUM}
${head}
  var largest = -3.4e38f;
  for (var i = lane; i < ${c}u; i += 64u) { largest = max(largest, x[row * ${c}u + i] * ${scale}f); }
  let top = rowMax(largest, local);
  var total = 0f;
  for (var i = lane; i < ${c}u; i += 64u) { total += exp(x[row * ${c}u + i] * ${scale}f - top); }
  let sum = rowSum(total, local);
  if (live) { for (var i = lane; i < ${c}u; i += 64u) { result[row * ${c}u + i] = exp(x[row * ${c}u + i] * ${scale}f - top) / sum; } }
}`,
    tensors: [x, out],
    groups,
  });
  return [out];
}

/** dx, from the result p and its gradient dp. */
export function softmaxGrad(device: WebGPUDevice, [p, dp]: TensorInfo[], { scale }: SoftmaxAttributes): TensorInfo[] {
  const c = p.shape[p.shape.length - 1];
  const { groups, head } = rowwise(tf.util.sizeFromShape(p.shape) / c);
  const out = device.newTensor(p.shape);
  dispatch(device, {
    name: `softmaxGrad ${scale}`,
    code: () => `${buffers(['p', 'dp'], ['result'])}
${ROW_SUM}
${head}
  var total = 0f;
  for (var i = lane; i < ${c}u; i += 64u) { total += p[row * ${c}u + i] * dp[row * ${c}u + i]; }
  let sum = rowSum(total, local);
  if (live) { for (var i = lane; i < ${c}u; i += 64u) { let index = row * ${c}u + i; result[index] = p[index] * (dp[index] - sum) * ${scale}f; } }
}`,
    tensors: [p, dp, out],
    groups,
  });
  return [out];
}
