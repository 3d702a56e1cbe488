import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';
import { addRows, ROW_SUM, rowwise } from './group-sums.js';

interface Attributes {
  readonly epsilon: number;
}

/** The mean of a row of c numbers, and 1 / sqrt(variance + epsilon). */
const statistics = (c: number, epsilon: number): string => `  var total = 0f;
  for (var i = lane; i < ${c}u; i += 64u) { total += x[row * ${c}u + i]; }
  let mean = rowSum(total, local) / ${c}f;
  var squares = 0f;
  for (var i = lane; i < ${c}u; i += 64u) { let z = x[row * ${c}u + i] - mean; squares += z * z; }
  let rstd = inverseSqrt(rowSum(squares, local) / ${c}f + ${epsilon});`;

/** x [..., c] normalized within each row, times gamma, plus beta (Ba et al. 2016). */
export function layerNorm(device: WebGPUDevice, [x, gamma, beta]: TensorInfo[], { epsilon }: Attributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const { groups, head } = rowwise(tf.util.sizeFromShape(x.shape) / c);
  const out = device.newTensor(x.shape);
  dispatch(device, {
    name: `layerNorm ${epsilon}`,
    code: () => `${buffers(['x', 'gamma', 'beta'], ['result'])}
${ROW_SUM}
${head}
${statistics(c, epsilon)}
  if (live) { for (var i = lane; i < ${c}u; i += 64u) { result[row * ${c}u + i] = (x[row * ${c}u + i] - mean) * rstd * gamma[i] + beta[i]; } }
}`,
    tensors: [x, gamma, beta, out],
    groups,
  });
  return [out];
}

/** dx, dgamma, dbeta. */
export function layerNormGrad(device: WebGPUDevice, [x, dy, gamma]: TensorInfo[], { epsilon }: Attributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const rows = tf.util.sizeFromShape(x.shape) / c;
  const { groups, head } = rowwise(rows);
  const dx = device.newTensor(x.shape);
  const stats = device.newTensor([rows, 2]);
  dispatch(device, {
    name: `layerNormGrad ${epsilon}`,
    code: () => `${buffers(['x', 'dy', 'gamma'], ['dx', 'stats'])}
${ROW_SUM}
${head}
${statistics(c, epsilon)}
  var sumG = 0f; var sumGN = 0f;
  for (var i = lane; i < ${c}u; i += 64u) {
    let g = dy[row * ${c}u + i] * gamma[i];
    sumG += g; sumGN += g * (x[row * ${c}u + i] - mean) * rstd;
  }
  let meanG = rowSum(sumG, local) / ${c}f;
  let meanGN = rowSum(sumGN, local) / ${c}f;
  if (live) {
    for (var i = lane; i < ${c}u; i += 64u) {
      let index = row * ${c}u + i;
      dx[index] = (dy[index] * gamma[i] - meanG - (x[index] - mean) * rstd * meanGN) * rstd;
    }
    if (lane == 0u) { stats[row * 2u] = mean; stats[row * 2u + 1u] = rstd; }
  }
}`,
    tensors: [x, dy, gamma, dx, stats],
    groups,
  });
  const slices = Math.min(64, Math.ceil(rows / 64));
  const partial = device.newTensor([slices, 2, c]);
  dispatch(device, {
    name: `layerNormGrad2 ${epsilon}`,
    code: () => `${buffers(['x', 'dy', 'stats'], ['partial'])}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  let channel = gid.x;
  if (channel >= ${c}u) { return; }
  var one = 0f; var two = 0f;
  for (var row = gid.y; row < ${rows}u; row += ${slices}u) {
    let g = dy[row * ${c}u + channel];
    one += g * (x[row * ${c}u + channel] - stats[row * 2u]) * stats[row * 2u + 1u];
    two += g;
  }
  partial[gid.y * ${2 * c}u + channel] = one;
  partial[gid.y * ${2 * c}u + ${c}u + channel] = two;
}`,
    tensors: [x, dy, stats, partial],
    groups: [Math.ceil(c / 64), slices],
  });
  device.dispose(stats);
  return [dx, ...addRows(device, partial, slices, c)];
}
