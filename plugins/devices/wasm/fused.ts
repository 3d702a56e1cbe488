import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { address, free, view, type WasmBackendParts } from './backend.js';
import { type Kernels, kernelsOf } from './module.js';

// Fused kernels over the wasm backend's heap: one pass where TensorFlow.js would make five tensors. The long loops are in
// the module of assembly/index.ts; what is per channel or group is done here, in double precision.

type Attributes = Record<string, number | boolean>;

const like = (backend: WasmBackendParts, x: TensorInfo): TensorInfo => backend.makeOutput([...x.shape], 'float32');

const sizes = (x: TensorInfo) => {
  const [n, c] = [x.shape[0], x.shape[x.shape.length - 1]];
  return { n, c, pixels: tf.util.sizeFromShape(x.shape) / n / c };
};

/** Rows of c numbers in the heap for the module to read and write: their addresses, and views to fill and read them. */
function rows(backend: WasmBackendParts, count: number, c: number) {
  const block = backend.makeOutput([count, c], 'float32');
  const start = address(backend, block);
  const all = view(backend, block);
  return {
    at: (row: number) => start + row * c * 4,
    row: (row: number) => all.subarray(row * c, (row + 1) * c),
    free: () => free(backend, block),
  };
}

/** Per channel: the mean and 1 / standard deviation of its group, for one example of [pixels, c]. */
function statistics(x: number, pixels: number, c: number, groups: number, epsilon: number, use: ReturnType<typeof rows>, kernels: Kernels) {
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

export function groupNorm(backend: WasmBackendParts, [x, gamma, beta]: TensorInfo[], attributes: Attributes): TensorInfo[] {
  const { n, c, pixels } = sizes(x);
  const kernels = kernelsOf(backend);
  const out = like(backend, x);
  const use = rows(backend, 4, c);
  normalized(backend, x, gamma, beta, out, attributes, use, kernels);
  const [at, count] = [address(backend, out), n * pixels * c];
  if (attributes.activate) kernels.silu(at, at, count);
  use.free();
  return [out];
}

/** out = (x - mean) rstd gamma + beta, as one factor and one addend per channel. */
function normalized(
  backend: WasmBackendParts,
  x: TensorInfo,
  gamma: TensorInfo,
  beta: TensorInfo,
  out: TensorInfo,
  attributes: Attributes,
  use: ReturnType<typeof rows>,
  kernels: Kernels,
): void {
  const { n, c, pixels } = sizes(x);
  const [weight, bias] = [view(backend, gamma), view(backend, beta)];
  const [factor, addend] = [use.row(2), use.row(3)];
  for (let i = 0; i < n; i++) {
    const step = i * pixels * c * 4;
    const { mean, rstd } = statistics(
      address(backend, x) + step,
      pixels,
      c,
      attributes.groups as number,
      attributes.epsilon as number,
      use,
      kernels,
    );
    for (let j = 0; j < c; j++) {
      factor[j] = rstd[j] * weight[j];
      addend[j] = bias[j] - mean[j] * rstd[j] * weight[j];
    }
    kernels.scaleShift(address(backend, x) + step, use.at(2), use.at(3), address(backend, out) + step, pixels, c);
  }
}

export function groupNormGrad(backend: WasmBackendParts, [x, dy, gamma, beta]: TensorInfo[], attributes: Attributes): TensorInfo[] {
  const { n, c, pixels } = sizes(x);
  const groups = attributes.groups as number;
  const d = c / groups;
  const kernels = kernelsOf(backend);
  const dx = like(backend, x);
  const [dgamma, dbeta] = [backend.makeOutput([c], 'float32'), backend.makeOutput([c], 'float32')];
  const use = rows(backend, 7, c);
  const count = n * pixels * c;
  if (attributes.activate) {
    normalized(backend, x, gamma, beta, dx, attributes, use, kernels);
    kernels.siluGrad(address(backend, dx), address(backend, dy), address(backend, dx), count);
  } else view(backend, dx).set(view(backend, dy));
  const [weight, dg, db] = [view(backend, gamma), new Float64Array(c), new Float64Array(c)];
  const [sumG, sumGX, k1, k2, k3] = [2, 3, 4, 5, 6].map(use.row);
  for (let i = 0; i < n; i++) {
    const step = i * pixels * c * 4;
    const [from, into] = [address(backend, x) + step, address(backend, dx) + step];
    const { mean, rstd } = statistics(from, pixels, c, groups, attributes.epsilon as number, use, kernels);
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
  view(backend, dgamma).set(dg);
  view(backend, dbeta).set(db);
  use.free();
  return [dx, dgamma, dbeta];
}

export function layerNorm(backend: WasmBackendParts, [x, gamma, beta]: TensorInfo[], { epsilon }: Attributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const y = like(backend, x);
  const [data, out, weight, bias] = [view(backend, x), view(backend, y), view(backend, gamma), view(backend, beta)];
  for (let from = 0; from < data.length; from += c) {
    const { mean, rstd } = rowStatistics(data, from, c, epsilon as number);
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

export function layerNormGrad(backend: WasmBackendParts, [x, dy, gamma]: TensorInfo[], { epsilon }: Attributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const dx = like(backend, x);
  const [dgamma, dbeta] = [backend.makeOutput([c], 'float32'), backend.makeOutput([c], 'float32')];
  const [data, g, out, weight] = [view(backend, x), view(backend, dy), view(backend, dx), view(backend, gamma)];
  const [totalG, totalGN] = [new Float64Array(c), new Float64Array(c)];
  for (let from = 0; from < data.length; from += c) {
    const { mean, rstd } = rowStatistics(data, from, c, epsilon as number);
    let a = 0;
    let b = 0;
    for (let j = 0; j < c; j++) {
      const normal = (data[from + j] - mean) * rstd;
      const own = g[from + j];
      totalG[j] += own;
      totalGN[j] += own * normal;
      a += own * weight[j];
      b += own * weight[j] * normal;
    }
    a /= c;
    b /= c;
    for (let j = 0; j < c; j++) out[from + j] = (g[from + j] * weight[j] - a - (data[from + j] - mean) * rstd * b) * rstd;
  }
  view(backend, dgamma).set(totalGN);
  view(backend, dbeta).set(totalG);
  return [dx, dgamma, dbeta];
}

export function softmaxGrad(backend: WasmBackendParts, [p, dp]: TensorInfo[], { scale }: Attributes): TensorInfo[] {
  const c = p.shape[p.shape.length - 1];
  const ds = like(backend, p);
  const [probability, g, out] = [view(backend, p), view(backend, dp), view(backend, ds)];
  for (let from = 0; from < out.length; from += c) {
    let sum = 0;
    for (let j = from; j < from + c; j++) sum += probability[j] * g[j];
    for (let j = from; j < from + c; j++) out[j] = probability[j] * (g[j] - sum) * (scale as number);
  }
  return [ds];
}

export function softmax(backend: WasmBackendParts, [x]: TensorInfo[], { scale }: Attributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const out = like(backend, x);
  kernelsOf(backend).softmax(address(backend, x), address(backend, out), tf.util.sizeFromShape(x.shape) / c, c, scale as number);
  return [out];
}

export function silu(backend: WasmBackendParts, [x]: TensorInfo[]): TensorInfo[] {
  const out = like(backend, x);
  kernelsOf(backend).silu(address(backend, x), address(backend, out), tf.util.sizeFromShape(x.shape));
  return [out];
}

export function siluGrad(backend: WasmBackendParts, [x, dy]: TensorInfo[]): TensorInfo[] {
  const out = like(backend, x);
  kernelsOf(backend).siluGrad(address(backend, x), address(backend, dy), address(backend, out), tf.util.sizeFromShape(x.shape));
  return [out];
}

export function geglu(backend: WasmBackendParts, [x]: TensorInfo[]): TensorInfo[] {
  const c = x.shape[x.shape.length - 1] / 2;
  const out = backend.makeOutput([...x.shape.slice(0, -1), c], 'float32');
  kernelsOf(backend).geglu(address(backend, x), address(backend, out), tf.util.sizeFromShape(x.shape) / c / 2, c);
  return [out];
}

export function gegluGrad(backend: WasmBackendParts, [x, dy]: TensorInfo[]): TensorInfo[] {
  const c = x.shape[x.shape.length - 1] / 2;
  const dx = like(backend, x);
  kernelsOf(backend).gegluGrad(address(backend, x), address(backend, dy), address(backend, dx), tf.util.sizeFromShape(x.shape) / c / 2, c);
  return [dx];
}

export function columnSum(backend: WasmBackendParts, [x]: TensorInfo[]): TensorInfo[] {
  const [rows, c] = x.shape;
  const out = backend.makeOutput([c], 'float32');
  const data = view(backend, x);
  const sums = new Float64Array(c);
  for (let row = 0, at = 0; row < rows; row++) for (let j = 0; j < c; j++, at++) sums[j] += data[at];
  view(backend, out).set(sums);
  return [out];
}
