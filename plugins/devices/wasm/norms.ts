import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { GroupNormAttributes, LayerNormAttributes } from '../compute/contract.js';
import type { WasmDevice } from './device.js';
import type { ModuleKernels } from './module.js';

// Normalizations over the backend's heap, in one pass where TensorFlow.js would make five tensors. The long loops are in the module of
// assembly/index.ts; what is per channel or group is done here, in double precision.

const sizes = (x: TensorInfo) => {
  const [n, c] = [x.shape[0], x.shape[x.shape.length - 1]];
  return { n, c, pixels: tf.util.sizeFromShape(x.shape) / n / c };
};

/** Rows of c numbers in the heap for the module to read and write: their addresses, and views to fill and read them. */
function rows(device: WasmDevice, count: number, c: number) {
  const block = device.newTensor([count, c]);
  const start = device.address(block);
  const all = device.view(block);
  return {
    at: (row: number) => start + row * c * 4,
    row: (row: number) => all.subarray(row * c, (row + 1) * c),
    free: () => device.free(block),
  };
}

/** Per channel: the mean and 1 / standard deviation of its group, for one example of [pixels, c]. */
function statistics(
  x: number,
  pixels: number,
  c: number,
  groups: number,
  epsilon: number,
  use: ReturnType<typeof rows>,
  kernels: ModuleKernels,
) {
  const d = c / groups;
  const [mean, sums] = [use.row(0), use.row(1)];
  const rstd = new Float64Array(c);
  const perGroup = (into: { [j: number]: number }, finish: (mean: number) => number) => {
    for (let g = 0; g < groups; g++) {
      let total = 0;
      for (let j = g * d; j < (g + 1) * d; j++) total += sums[j];
      const value = finish(total / (pixels * d));
      for (let j = g * d; j < (g + 1) * d; j++) into[j] = value;
    }
  };
  kernels.columnSums(x, pixels, c, use.at(1));
  perGroup(mean, (m) => m);
  kernels.columnSquares(x, use.at(0), pixels, c, use.at(1));
  perGroup(rstd, (variance) => 1 / Math.sqrt(variance + epsilon));
  return { mean, rstd };
}

export function groupNorm(device: WasmDevice, [x, gamma, beta]: TensorInfo[], attributes: GroupNormAttributes): TensorInfo[] {
  const { n, c, pixels } = sizes(x);
  const kernels = device.module;
  const out = device.newTensor(x.shape);
  const use = rows(device, 4, c);
  normalized(device, x, gamma, beta, out, attributes, use, kernels);
  const [at, count] = [device.address(out), n * pixels * c];
  if (attributes.activate) kernels.silu(at, at, count);
  use.free();
  return [out];
}

/** out = (x - mean) rstd gamma + beta, as one factor and one addend per channel. */
function normalized(
  device: WasmDevice,
  x: TensorInfo,
  gamma: TensorInfo,
  beta: TensorInfo,
  out: TensorInfo,
  attributes: GroupNormAttributes,
  use: ReturnType<typeof rows>,
  kernels: ModuleKernels,
): void {
  const { n, c, pixels } = sizes(x);
  const [weight, bias] = [device.view(gamma), device.view(beta)];
  const [factor, addend] = [use.row(2), use.row(3)];
  for (let i = 0; i < n; i++) {
    const step = i * pixels * c * 4;
    const { mean, rstd } = statistics(device.address(x) + step, pixels, c, attributes.groups, attributes.epsilon, use, kernels);
    for (let j = 0; j < c; j++) {
      factor[j] = rstd[j] * weight[j];
      addend[j] = bias[j] - mean[j] * rstd[j] * weight[j];
    }
    kernels.scaleShift(device.address(x) + step, use.at(2), use.at(3), device.address(out) + step, pixels, c);
  }
}

export function groupNormGrad(device: WasmDevice, [x, dy, gamma, beta]: TensorInfo[], attributes: GroupNormAttributes): TensorInfo[] {
  const { n, c, pixels } = sizes(x);
  const groups = attributes.groups;
  const d = c / groups;
  const kernels = device.module;
  const dx = device.newTensor(x.shape);
  const [dgamma, dbeta] = [device.newTensor([c]), device.newTensor([c])];
  const use = rows(device, 7, c);
  const count = n * pixels * c;
  if (attributes.activate) {
    normalized(device, x, gamma, beta, dx, attributes, use, kernels);
    kernels.siluGrad(device.address(dx), device.address(dy), device.address(dx), count);
  } else device.view(dx).set(device.view(dy));
  const [weight, dg, db] = [device.view(gamma), new Float64Array(c), new Float64Array(c)];
  const [sumG, sumGX, k1, k2, k3] = [2, 3, 4, 5, 6].map(use.row);
  for (let i = 0; i < n; i++) {
    const step = i * pixels * c * 4;
    const [from, into] = [device.address(x) + step, device.address(dx) + step];
    const { mean, rstd } = statistics(from, pixels, c, groups, attributes.epsilon, use, kernels);
    kernels.gradientSums(into, from, use.at(0), pixels, c, use.at(2), use.at(3));
    for (let g = 0; g < groups; g++) {
      let a = 0;
      let b = 0;
      for (let j = g * d; j < (g + 1) * d; j++) {
        const along = sumGX[j] * rstd[j];
        dg[j] += along;
        db[j] += sumG[j];
        a += (sumG[j] * weight[j]) / (pixels * d);
        b += (along * weight[j]) / (pixels * d);
      }
      // dx = (g gamma - a - normal b) rstd, with what is constant per channel taken out of the loop.
      for (let j = g * d; j < (g + 1) * d; j++) {
        k1[j] = weight[j] * rstd[j];
        k2[j] = b * rstd[j] * rstd[j];
        k3[j] = mean[j] * b * rstd[j] * rstd[j] - a * rstd[j];
      }
    }
    kernels.combine(into, from, use.at(4), use.at(5), use.at(6), pixels, c);
  }
  device.view(dgamma).set(dg);
  device.view(dbeta).set(db);
  use.free();
  return [dx, dgamma, dbeta];
}

export function layerNorm(device: WasmDevice, [x, gamma, beta]: TensorInfo[], { epsilon }: LayerNormAttributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const y = device.newTensor(x.shape);
  const [data, out, weight, bias] = [device.view(x), device.view(y), device.view(gamma), device.view(beta)];
  for (let from = 0; from < data.length; from += c) {
    const { mean, rstd } = rowStatistics(data, from, c, epsilon);
    for (let j = 0; j < c; j++) out[from + j] = (data[from + j] - mean) * rstd * weight[j] + bias[j];
  }
  return [y];
}

function rowStatistics(data: Float32Array, from: number, c: number, epsilon: number) {
  let sum = 0;
  for (let j = 0; j < c; j++) sum += data[from + j];
  const mean = sum / c;
  let squares = 0;
  for (let j = 0; j < c; j++) squares += (data[from + j] - mean) ** 2;
  return { mean, rstd: 1 / Math.sqrt(squares / c + epsilon) };
}

export function layerNormGrad(device: WasmDevice, [x, dy, gamma]: TensorInfo[], { epsilon }: LayerNormAttributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const dx = device.newTensor(x.shape);
  const [dgamma, dbeta] = [device.newTensor([c]), device.newTensor([c])];
  const [data, g, out, weight] = [device.view(x), device.view(dy), device.view(dx), device.view(gamma)];
  const [totalG, totalGN] = [new Float64Array(c), new Float64Array(c)];
  for (let from = 0; from < data.length; from += c) {
    const { mean, rstd } = rowStatistics(data, from, c, epsilon);
    let a = 0;
    let b = 0;
    for (let j = 0; j < c; j++) {
      const normal = (data[from + j] - mean) * rstd;
      const dy = g[from + j];
      totalG[j] += dy;
      totalGN[j] += dy * normal;
      a += dy * weight[j];
      b += dy * weight[j] * normal;
    }
    a /= c;
    b /= c;
    for (let j = 0; j < c; j++) out[from + j] = (g[from + j] * weight[j] - a - (data[from + j] - mean) * rstd * b) * rstd;
  }
  device.view(dgamma).set(totalGN);
  device.view(dbeta).set(totalG);
  return [dx, dgamma, dbeta];
}
