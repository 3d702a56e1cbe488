import type { TensorInfo } from '@tensorflow/tfjs';
import { free, run, sizeOf, view, type WasmBackendParts } from './wasm-heap.js';

// Fused kernels over the wasm backend's heap. Plain loops: one pass where TensorFlow.js would make five tensors.
// Exponentials go through the module's own vectorized sigmoid, ten times as fast as Math.exp.

type Attributes = Record<string, number | boolean>;

const like = (backend: WasmBackendParts, x: TensorInfo): TensorInfo => backend.makeOutput([...x.shape], 'float32');

/** Per group: mean and 1 / standard deviation, of x [n, pixels, c]. */
function statistics(x: Float32Array, n: number, pixels: number, c: number, groups: number, epsilon: number) {
  const d = c / groups;
  const mean = new Float64Array(n * groups);
  const rstd = new Float64Array(n * groups);
  const sums = new Float64Array(c);
  const count = pixels * d;
  for (let i = 0; i < n; i++) {
    const from = i * pixels * c;
    sums.fill(0);
    for (let p = 0, at = from; p < pixels; p++) for (let j = 0; j < c; j++, at++) sums[j] += x[at];
    for (let j = 0; j < c; j++) mean[i * groups + Math.floor(j / d)] += sums[j] / count;
    const means = Float64Array.from({ length: c }, (_, j) => mean[i * groups + Math.floor(j / d)]);
    sums.fill(0);
    for (let p = 0, at = from; p < pixels; p++)
      for (let j = 0; j < c; j++, at++) {
        const z = x[at] - means[j];
        sums[j] += z * z;
      }
    for (let j = 0; j < c; j++) rstd[i * groups + Math.floor(j / d)] += sums[j] / count;
  }
  for (let k = 0; k < rstd.length; k++) rstd[k] = 1 / Math.sqrt(rstd[k] + epsilon);
  return { mean, rstd, d };
}

/** out = (x - mean) rstd gamma + beta, as one factor and one addend per channel. */
function affine(x: Float32Array, gamma: Float32Array, beta: Float32Array, out: Float32Array, n: number, pixels: number, c: number, stats: ReturnType<typeof statistics>, groups: number) {
  const factor = new Float64Array(c);
  const addend = new Float64Array(c);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < c; j++) {
      const g = i * groups + Math.floor(j / stats.d);
      factor[j] = stats.rstd[g] * gamma[j];
      addend[j] = beta[j] - stats.mean[g] * factor[j];
    }
    for (let p = 0, at = i * pixels * c; p < pixels; p++) for (let j = 0; j < c; j++, at++) out[at] = x[at] * factor[j] + addend[j];
  }
}

const sizes = (x: TensorInfo) => {
  const [n, c] = [x.shape[0], x.shape[x.shape.length - 1]];
  return { n, c, pixels: sizeOf(x.shape) / n / c };
};

export function groupNorm(backend: WasmBackendParts, [x, gamma, beta]: TensorInfo[], attributes: Attributes): TensorInfo[] {
  const { n, c, pixels } = sizes(x);
  const groups = attributes.groups as number;
  const out = like(backend, x);
  const data = view(backend, x);
  affine(data, view(backend, gamma), view(backend, beta), view(backend, out), n, pixels, c, statistics(data, n, pixels, c, groups, attributes.epsilon as number), groups);
  if (!attributes.activate) return [out];
  const s = run('Sigmoid', backend, { x: out });
  const [z, sig] = [view(backend, out), view(backend, s)];
  for (let i = 0; i < z.length; i++) z[i] *= sig[i];
  free(backend, s);
  return [out];
}

export function groupNormGrad(backend: WasmBackendParts, [x, dy, gamma, beta]: TensorInfo[], attributes: Attributes): TensorInfo[] {
  const { n, c, pixels } = sizes(x);
  const groups = attributes.groups as number;
  const dx = like(backend, x);
  const [dgamma, dbeta] = [backend.makeOutput([c], 'float32'), backend.makeOutput([c], 'float32')];
  const z = attributes.activate ? like(backend, x) : null;
  const stats = statistics(view(backend, x), n, pixels, c, groups, attributes.epsilon as number);
  if (z) affine(view(backend, x), view(backend, gamma), view(backend, beta), view(backend, z), n, pixels, c, stats, groups);
  const s = z ? run('Sigmoid', backend, { x: z }) : null;
  const [data, g, out, weight] = [view(backend, x), view(backend, dy), view(backend, dx), view(backend, gamma)];
  const [dg, db] = [view(backend, dgamma), view(backend, dbeta)];
  if (z && s) {
    const [zs, sig] = [view(backend, z), view(backend, s)];
    for (let i = 0; i < out.length; i++) out[i] = g[i] * sig[i] * (1 + zs[i] * (1 - sig[i]));
    free(backend, z, s);
  } else out.set(g);
  const { mean, rstd, d } = stats;
  const count = pixels * d;
  const [sumG, sumGN, totalG, totalGN] = [new Float64Array(c), new Float64Array(c), new Float64Array(c), new Float64Array(c)];
  const [m, r, a, b] = [new Float64Array(c), new Float64Array(c), new Float64Array(groups), new Float64Array(groups)];
  for (let i = 0; i < n; i++) {
    sumG.fill(0);
    sumGN.fill(0);
    for (let j = 0; j < c; j++) {
      m[j] = mean[i * groups + Math.floor(j / d)];
      r[j] = rstd[i * groups + Math.floor(j / d)];
    }
    const from = i * pixels * c;
    for (let p = 0, at = from; p < pixels; p++)
      for (let j = 0; j < c; j++, at++) {
        sumG[j] += out[at];
        sumGN[j] += out[at] * (data[at] - m[j]) * r[j];
      }
    a.fill(0);
    b.fill(0);
    for (let j = 0; j < c; j++) {
      totalG[j] += sumG[j];
      totalGN[j] += sumGN[j];
      a[Math.floor(j / d)] += (sumG[j] * weight[j]) / count;
      b[Math.floor(j / d)] += (sumGN[j] * weight[j]) / count;
    }
    // dx = (g gamma - a - normal b) rstd, with what is constant per channel taken out of the loop.
    const [k1, k2, k3] = [sumG, sumGN, new Float64Array(c)];
    for (let j = 0; j < c; j++) {
      const group = Math.floor(j / d);
      k1[j] = weight[j] * r[j];
      k2[j] = b[group] * r[j] * r[j];
      k3[j] = m[j] * k2[j] - a[group] * r[j];
    }
    for (let p = 0, at = from; p < pixels; p++) for (let j = 0; j < c; j++, at++) out[at] = out[at] * k1[j] - data[at] * k2[j] + k3[j];
  }
  dg.set(totalGN);
  db.set(totalG);
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

export function silu(backend: WasmBackendParts, [x]: TensorInfo[]): TensorInfo[] {
  const s = run('Sigmoid', backend, { x });
  const [data, out] = [view(backend, x), view(backend, s)];
  for (let i = 0; i < out.length; i++) out[i] *= data[i];
  return [s];
}

export function siluGrad(backend: WasmBackendParts, [x, dy]: TensorInfo[]): TensorInfo[] {
  const s = run('Sigmoid', backend, { x });
  const [data, g, out] = [view(backend, x), view(backend, dy), view(backend, s)];
  for (let i = 0; i < out.length; i++) out[i] = g[i] * out[i] * (1 + data[i] * (1 - out[i]));
  return [s];
}

/** Abramowitz and Stegun 7.1.26, off by at most 1.5e-7; `e` is exp(-x x). */
function erfOf(x: number, e: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const y = 1 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * e;
  return x < 0 ? -y : y;
}

export function geglu(backend: WasmBackendParts, [x]: TensorInfo[]): TensorInfo[] {
  const c = x.shape[x.shape.length - 1] / 2;
  const y = backend.makeOutput([...x.shape.slice(0, -1), c], 'float32');
  const [data, out] = [view(backend, x), view(backend, y)];
  for (let row = 0, at = 0; at < out.length; row += 2 * c)
    for (let j = 0; j < c; j++, at++) {
      const gate = data[row + c + j];
      out[at] = data[row + j] * 0.5 * gate * (1 + erfOf(gate * Math.SQRT1_2, Math.exp(-0.5 * gate * gate)));
    }
  return [y];
}

export function gegluGrad(backend: WasmBackendParts, [x, dy]: TensorInfo[]): TensorInfo[] {
  const c = x.shape[x.shape.length - 1] / 2;
  const dx = like(backend, x);
  const [data, g, out] = [view(backend, x), view(backend, dy), view(backend, dx)];
  const density = 1 / Math.sqrt(2 * Math.PI);
  for (let row = 0, at = 0; at < g.length; row += 2 * c)
    for (let j = 0; j < c; j++, at++) {
      const gate = data[row + c + j];
      const e = Math.exp(-0.5 * gate * gate);
      const phi = 0.5 * (1 + erfOf(gate * Math.SQRT1_2, e));
      out[row + j] = g[at] * gate * phi;
      out[row + c + j] = g[at] * data[row + j] * (phi + gate * e * density);
    }
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
