import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { GroupNormAttributes, LayerNormAttributes } from '../compute/contract.js';
import { SIGMOID } from './activations.js';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';
import { addRows, GROUP_SUM, ROW_SUM, rowwise } from './group-sums.js';

/** n examples of `pixels` by c channels, d of them in a group. */
function sizesOf(x: TensorInfo, groups: number) {
  const c = x.shape[x.shape.length - 1];
  const n = x.shape[0];
  return { n, c, d: c / groups, pixels: tf.util.sizeFromShape(x.shape) / n / c };
}

/** Element e of a group: its channel, and its place in x. */
const place = ({ c, d, pixels }: ReturnType<typeof sizesOf>): string =>
  `let channel = group.x * ${d}u + e % ${d}u; let index = (group.y * ${pixels}u + e / ${d}u) * ${c}u + channel;`;

/** The mean and 1 / sqrt(variance + epsilon) of `count` elements, each loaded as `value`. */
const groupStatistics = (count: number, epsilon: number, load: string): string => `
  var total = 0f;
  for (var e = local; e < ${count}u; e += 256u) { ${load} total += value; }
  let mean = groupSum(total, local) / ${count}f;
  var squares = 0f;
  for (var e = local; e < ${count}u; e += 256u) { ${load} squares += (value - mean) * (value - mean); }
  let rstd = inverseSqrt(groupSum(squares, local) / ${count}f + ${epsilon});`;

/** x [n, ..., c] normalized within each example and group of channels, times gamma, plus beta (Wu and He 2018). */
export function groupNorm(
  device: WebGPUDevice,
  [x, gamma, beta]: TensorInfo[],
  { groups, epsilon, activate }: GroupNormAttributes,
): TensorInfo[] {
  const sizes = sizesOf(x, groups);
  const { n, d, pixels } = sizes;
  const out = device.newTensor(x.shape);
  const at = place(sizes);
  dispatch(device, {
    name: `groupNorm ${groups} ${epsilon} ${activate}`,
    code: () => `${buffers(['x', 'gamma', 'beta'], ['result'])}
${GROUP_SUM}
${SIGMOID}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${groupStatistics(pixels * d, epsilon, `${at} let value = x[index];`)}
  for (var e = local; e < ${pixels * d}u; e += 256u) {
    ${at}
    let z = (x[index] - mean) * rstd * gamma[channel] + beta[channel];
    result[index] = ${activate ? 'z * sigmoid(z)' : 'z'};
  }
}`,
    tensors: [x, gamma, beta, out],
    groups: [groups, n],
  });
  return [out];
}

/** dx, dgamma, dbeta; the latter two as one row per example, added by a second kernel. */
export function groupNormGrad(
  device: WebGPUDevice,
  [x, dy, gamma, beta]: TensorInfo[],
  { groups, epsilon, activate }: GroupNormAttributes,
): TensorInfo[] {
  const sizes = sizesOf(x, groups);
  const { n, c, d, pixels } = sizes;
  const dx = device.newTensor(x.shape);
  const partial = device.newTensor([n, 2, c]);
  const at = place(sizes);
  const slope = `let normal = (x[index] - mean) * rstd;
    ${activate ? 'let z = normal * gamma[channel] + beta[channel]; let s = sigmoid(z); let g = dy[index] * s * (1f + z * (1f - s));' : 'let g = dy[index];'}`;
  dispatch(device, {
    // A buffer that the shader does not use has no place in its layout.
    name: `groupNormGrad ${groups} ${epsilon} ${activate}`,
    code: () => `${buffers(activate ? ['x', 'dy', 'gamma', 'beta'] : ['x', 'dy', 'gamma'], ['dx', 'partial'])}
${GROUP_SUM}
${SIGMOID}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${groupStatistics(pixels * d, epsilon, `${at} let value = x[index];`)}
  // A thread's sums stay within one channel where 256 is a multiple of the group's channels; so each channel is summed by itself.
  var meanG = 0f; var meanGN = 0f;
  for (var j = 0u; j < ${d}u; j++) {
    let channel = group.x * ${d}u + j;
    var sumG = 0f; var sumGN = 0f;
    for (var p = local; p < ${pixels}u; p += 256u) {
      let index = (group.y * ${pixels}u + p) * ${c}u + channel;
      ${slope}
      sumG += g; sumGN += g * normal;
    }
    let wholeG = groupSum(sumG, local);
    let wholeGN = groupSum(sumGN, local);
    meanG += wholeG * gamma[channel];
    meanGN += wholeGN * gamma[channel];
    if (local == 0u) {
      partial[group.y * ${2 * c}u + channel] = wholeGN;
      partial[group.y * ${2 * c}u + ${c}u + channel] = wholeG;
    }
  }
  meanG /= ${pixels * d}f; meanGN /= ${pixels * d}f;
  for (var e = local; e < ${pixels * d}u; e += 256u) {
    ${at}
    ${slope}
    dx[index] = (g * gamma[channel] - meanG - normal * meanGN) * rstd;
  }
}`,
    tensors: activate ? [x, dy, gamma, beta, dx, partial] : [x, dy, gamma, dx, partial],
    groups: [groups, n],
  });
  const out = addRows(device, partial, n, c);
  return [dx, ...out];
}

/** The mean of a row of c numbers, and 1 / sqrt(variance + epsilon). */
const rowStatistics = (c: number, epsilon: number): string => `  var total = 0f;
  for (var i = lane; i < ${c}u; i += 64u) { total += x[row * ${c}u + i]; }
  let mean = rowSum(total, local) / ${c}f;
  var squares = 0f;
  for (var i = lane; i < ${c}u; i += 64u) { let z = x[row * ${c}u + i] - mean; squares += z * z; }
  let rstd = inverseSqrt(rowSum(squares, local) / ${c}f + ${epsilon});`;

/** x [..., c] normalized within each row, times gamma, plus beta (Ba et al. 2016). */
export function layerNorm(device: WebGPUDevice, [x, gamma, beta]: TensorInfo[], { epsilon }: LayerNormAttributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const { groups, head } = rowwise(tf.util.sizeFromShape(x.shape) / c);
  const out = device.newTensor(x.shape);
  dispatch(device, {
    name: `layerNorm ${epsilon}`,
    code: () => `${buffers(['x', 'gamma', 'beta'], ['result'])}
${ROW_SUM}
${head}
${rowStatistics(c, epsilon)}
  if (live) { for (var i = lane; i < ${c}u; i += 64u) { result[row * ${c}u + i] = (x[row * ${c}u + i] - mean) * rstd * gamma[i] + beta[i]; } }
}`,
    tensors: [x, gamma, beta, out],
    groups,
  });
  return [out];
}

/** dx, dgamma, dbeta. */
export function layerNormGrad(device: WebGPUDevice, [x, dy, gamma]: TensorInfo[], { epsilon }: LayerNormAttributes): TensorInfo[] {
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
${rowStatistics(c, epsilon)}
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
