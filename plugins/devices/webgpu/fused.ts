import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WebGPUBackendParts } from './backend.js';
import { buffers, dispatch, flat } from './dispatch.js';

/** A sum over the 256 threads of a group, for everybody. `scratch` is used up to the next barrier. */
const GROUP_SUM = `var<workgroup> scratch: array<f32, 256>;
fn groupSum(value: f32, local: u32) -> f32 {
  workgroupBarrier();
  scratch[local] = value;
  workgroupBarrier();
  for (var width = 128u; width > 0u; width /= 2u) {
    if (local < width) { scratch[local] += scratch[local + width]; }
    workgroupBarrier();
  }
  return scratch[0];
}`;

const ERF = `fn erf(x: f32) -> f32 {
  // Abramowitz and Stegun 7.1.26 is off by 1e-7; the tails by less.
  let a = abs(x); let t = 1f / (1f + 0.3275911 * a);
  let y = 1f - (((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * exp(-a * a);
  return select(y, -y, x < 0f);
}`;

type Attributes = Record<string, number | boolean>;

/** silu and its derivative, of a number z. */
const SIGMOID = 'fn sigmoid(z: f32) -> f32 { return 1f / (1f + exp(-z)); }';

function perGroup(x: TensorInfo, groups: number) {
  const c = x.shape[x.shape.length - 1];
  const n = x.shape[0];
  return { n, c, d: c / groups, pixels: tf.util.sizeFromShape(x.shape) / n / c };
}

const statistics = (count: number, epsilon: number, load: string): string => `
  var total = 0f;
  for (var e = local; e < ${count}u; e += 256u) { ${load} total += value; }
  let mean = groupSum(total, local) / ${count}f;
  var squares = 0f;
  for (var e = local; e < ${count}u; e += 256u) { ${load} squares += (value - mean) * (value - mean); }
  let rstd = inverseSqrt(groupSum(squares, local) / ${count}f + ${epsilon});`;

export function groupNorm(
  backend: WebGPUBackendParts,
  [x, gamma, beta]: TensorInfo[],
  { groups, epsilon, activate }: Attributes,
): TensorInfo[] {
  const { n, c, d, pixels } = perGroup(x, groups as number);
  const out = backend.makeTensorInfo([...x.shape], 'float32');
  const at = `let channel = group.x * ${d}u + e % ${d}u; let index = (group.y * ${pixels}u + e / ${d}u) * ${c}u + channel;`;
  dispatch(backend, {
    name: `groupNorm ${groups} ${epsilon} ${activate}`,
    code: () => `${buffers(['x', 'gamma', 'beta'], ['result'])}
${GROUP_SUM}
${SIGMOID}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${statistics(pixels * d, epsilon as number, `${at} let value = x[index];`)}
  for (var e = local; e < ${pixels * d}u; e += 256u) {
    ${at}
    let z = (x[index] - mean) * rstd * gamma[channel] + beta[channel];
    result[index] = ${activate ? 'z * sigmoid(z)' : 'z'};
  }
}`,
    tensors: [x, gamma, beta, out],
    groups: [groups as number, n],
  });
  return [out];
}

/** dx, dgamma, dbeta; the latter two as one row per example, added by a second kernel. */
export function groupNormGrad(
  backend: WebGPUBackendParts,
  [x, dy, gamma, beta]: TensorInfo[],
  { groups, epsilon, activate }: Attributes,
): TensorInfo[] {
  const { n, c, d, pixels } = perGroup(x, groups as number);
  const dx = backend.makeTensorInfo([...x.shape], 'float32');
  const partial = backend.makeTensorInfo([n, 2, c], 'float32');
  const at = `let channel = group.x * ${d}u + e % ${d}u; let index = (group.y * ${pixels}u + e / ${d}u) * ${c}u + channel;`;
  const slope = `let normal = (x[index] - mean) * rstd;
    ${activate ? 'let z = normal * gamma[channel] + beta[channel]; let s = sigmoid(z); let g = dy[index] * s * (1f + z * (1f - s));' : 'let g = dy[index];'}`;
  dispatch(backend, {
    // A buffer that the shader does not use has no place in its layout.
    name: `groupNormGrad ${groups} ${epsilon} ${activate}`,
    code: () => `${buffers(activate ? ['x', 'dy', 'gamma', 'beta'] : ['x', 'dy', 'gamma'], ['dx', 'partial'])}
${GROUP_SUM}
${SIGMOID}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${statistics(pixels * d, epsilon as number, `${at} let value = x[index];`)}
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
    groups: [groups as number, n],
  });
  const out = addRows(backend, partial, n, c);
  return [dx, ...out];
}

/** Adds rows [rows, 2, c] to two tensors [c]; frees the rows. */
function addRows(backend: WebGPUBackendParts, partial: TensorInfo, rows: number, c: number): TensorInfo[] {
  const [a, b] = [backend.makeTensorInfo([c], 'float32'), backend.makeTensorInfo([c], 'float32')];
  dispatch(backend, {
    name: 'addRows',
    code: () => `${buffers(['partial'], ['first', 'second'])}
${GROUP_SUM}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  var one = 0f; var two = 0f;
  for (var r = local; r < ${rows}u; r += 256u) {
    one += partial[r * ${2 * c}u + group.x];
    two += partial[r * ${2 * c}u + ${c}u + group.x];
  }
  let all = groupSum(one, local);
  let both = groupSum(two, local);
  if (local == 0u) { first[group.x] = all; second[group.x] = both; }
}`,
    tensors: [partial, a, b],
    groups: [c],
  });
  backend.disposeData(partial.dataId);
  return [a, b];
}

/** A row to 64 threads; their sums meet in shared memory. */
const ROW_SUM = `var<workgroup> scratch: array<f32, 256>;
fn rowSum(value: f32, local: u32) -> f32 {
  let lane = local % 64u;
  workgroupBarrier();
  scratch[local] = value;
  workgroupBarrier();
  for (var width = 32u; width > 0u; width /= 2u) {
    if (lane < width) { scratch[local] += scratch[local + width]; }
    workgroupBarrier();
  }
  return scratch[local - lane];
}
fn rowMax(value: f32, local: u32) -> f32 {
  let lane = local % 64u;
  workgroupBarrier();
  scratch[local] = value;
  workgroupBarrier();
  for (var width = 32u; width > 0u; width /= 2u) {
    if (lane < width) { scratch[local] = max(scratch[local], scratch[local + width]); }
    workgroupBarrier();
  }
  return scratch[local - lane];
}`;

/** Four rows a group. Threads past the last row still meet the barriers. */
function rowwise(rows: number): { groups: [number, number]; head: string } {
  const wanted = Math.ceil(rows / 4);
  const x = Math.min(wanted, 32768);
  return {
    groups: [x, Math.ceil(wanted / x)],
    head: `@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = (group.y * ${x}u + group.x) * 4u + local / 64u;
  let live = own < ${rows}u;
  let row = min(own, ${rows - 1}u);
  let lane = local % 64u;`,
  };
}

export function layerNorm(backend: WebGPUBackendParts, [x, gamma, beta]: TensorInfo[], { epsilon }: Attributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const { groups, head } = rowwise(tf.util.sizeFromShape(x.shape) / c);
  const out = backend.makeTensorInfo([...x.shape], 'float32');
  dispatch(backend, {
    name: `layerNorm ${epsilon}`,
    code: () => `${buffers(['x', 'gamma', 'beta'], ['result'])}
${ROW_SUM}
${head}
  var total = 0f;
  for (var i = lane; i < ${c}u; i += 64u) { total += x[row * ${c}u + i]; }
  let mean = rowSum(total, local) / ${c}f;
  var squares = 0f;
  for (var i = lane; i < ${c}u; i += 64u) { let z = x[row * ${c}u + i] - mean; squares += z * z; }
  let rstd = inverseSqrt(rowSum(squares, local) / ${c}f + ${epsilon});
  if (live) { for (var i = lane; i < ${c}u; i += 64u) { result[row * ${c}u + i] = (x[row * ${c}u + i] - mean) * rstd * gamma[i] + beta[i]; } }
}`,
    tensors: [x, gamma, beta, out],
    groups,
  });
  return [out];
}

export function layerNormGrad(backend: WebGPUBackendParts, [x, dy, gamma]: TensorInfo[], { epsilon }: Attributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const rows = tf.util.sizeFromShape(x.shape) / c;
  const { groups, head } = rowwise(rows);
  const dx = backend.makeTensorInfo([...x.shape], 'float32');
  const stats = backend.makeTensorInfo([rows, 2], 'float32');
  dispatch(backend, {
    name: `layerNormGrad ${epsilon}`,
    code: () => `${buffers(['x', 'dy', 'gamma'], ['dx', 'stats'])}
${ROW_SUM}
${head}
  var total = 0f;
  for (var i = lane; i < ${c}u; i += 64u) { total += x[row * ${c}u + i]; }
  let mean = rowSum(total, local) / ${c}f;
  var squares = 0f;
  for (var i = lane; i < ${c}u; i += 64u) { let z = x[row * ${c}u + i] - mean; squares += z * z; }
  let rstd = inverseSqrt(rowSum(squares, local) / ${c}f + ${epsilon});
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
  const partial = backend.makeTensorInfo([slices, 2, c], 'float32');
  dispatch(backend, {
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
  backend.disposeData(stats.dataId);
  return [dx, ...addRows(backend, partial, slices, c)];
}

export function softmax(backend: WebGPUBackendParts, [x]: TensorInfo[], { scale }: Attributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const { groups, head } = rowwise(tf.util.sizeFromShape(x.shape) / c);
  const out = backend.makeTensorInfo([...x.shape], 'float32');
  dispatch(backend, {
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

export function softmaxGrad(backend: WebGPUBackendParts, [p, dp]: TensorInfo[], { scale }: Attributes): TensorInfo[] {
  const c = p.shape[p.shape.length - 1];
  const { groups, head } = rowwise(tf.util.sizeFromShape(p.shape) / c);
  const out = backend.makeTensorInfo([...p.shape], 'float32');
  dispatch(backend, {
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

/** An element-wise kernel: `body` sets result[i]. */
function pointwise(
  backend: WebGPUBackendParts,
  name: string,
  read: string[],
  inputs: TensorInfo[],
  shape: number[],
  functions: string,
  body: string,
): TensorInfo[] {
  const out = backend.makeTensorInfo(shape, 'float32');
  const { groups, head } = flat(tf.util.sizeFromShape(shape));
  dispatch(backend, {
    name,
    code: () => `${buffers(read, ['result'])}\n${functions}\n${head}\n${body}\n}`,
    tensors: [...inputs, out],
    groups,
  });
  return [out];
}

export const silu = (backend: WebGPUBackendParts, [x]: TensorInfo[]): TensorInfo[] =>
  pointwise(backend, 'silu', ['x'], [x], [...x.shape], SIGMOID, 'result[i] = x[i] * sigmoid(x[i]);');

export const siluGrad = (backend: WebGPUBackendParts, [x, dy]: TensorInfo[]): TensorInfo[] =>
  pointwise(
    backend,
    'siluGrad',
    ['x', 'dy'],
    [x, dy],
    [...x.shape],
    SIGMOID,
    'let s = sigmoid(x[i]); result[i] = dy[i] * s * (1f + x[i] * (1f - s));',
  );

export function geglu(backend: WebGPUBackendParts, [x]: TensorInfo[]): TensorInfo[] {
  const c = x.shape[x.shape.length - 1] / 2;
  return pointwise(
    backend,
    'geglu',
    ['x'],
    [x],
    [...x.shape.slice(0, -1), c],
    ERF,
    `let at = (i / ${c}u) * ${2 * c}u + i % ${c}u; let gate = x[at + ${c}u];
  result[i] = x[at] * 0.5 * gate * (1f + erf(gate * ${Math.SQRT1_2}));`,
  );
}

export function gegluGrad(backend: WebGPUBackendParts, [x, dy]: TensorInfo[]): TensorInfo[] {
  const c = x.shape[x.shape.length - 1] / 2;
  return pointwise(
    backend,
    'gegluGrad',
    ['x', 'dy'],
    [x, dy],
    [...x.shape],
    ERF,
    `let row = i / ${2 * c}u; let j = i % ${2 * c}u; let k = j % ${c}u;
  let value = x[row * ${2 * c}u + k]; let gate = x[row * ${2 * c}u + ${c}u + k]; let g = dy[row * ${c}u + k];
  let phi = 0.5 * (1f + erf(gate * ${Math.SQRT1_2}));
  result[i] = select(g * value * (phi + gate * exp(-0.5 * gate * gate) * ${1 / Math.sqrt(2 * Math.PI)}), g * gate * phi, j < ${c}u);`,
  );
}

/** [rows, c] to [c]. */
export function columnSum(backend: WebGPUBackendParts, [x]: TensorInfo[]): TensorInfo[] {
  const [rows, c] = x.shape;
  const slices = Math.min(128, Math.ceil(rows / 64));
  const partial = slices > 1 ? backend.makeTensorInfo([slices, c], 'float32') : backend.makeTensorInfo([c], 'float32');
  const add = (from: TensorInfo, to: TensorInfo, count: number, step: number) =>
    dispatch(backend, {
      name: `columnSum ${count} ${step}`,
      code: () => `${buffers(['x'], ['result'])}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  if (gid.x >= ${c}u) { return; }
  var sum = 0f;
  for (var row = gid.y; row < ${count}u; row += ${step}u) { sum += x[row * ${c}u + gid.x]; }
  result[gid.y * ${c}u + gid.x] = sum;
}`,
      tensors: [from, to],
      groups: [Math.ceil(c / 64), step],
    });
  add(x, partial, rows, slices);
  if (slices === 1) return [partial];
  const out = backend.makeTensorInfo([c], 'float32');
  add(partial, out, slices, 1);
  backend.disposeData(partial.dataId);
  return [out];
}
