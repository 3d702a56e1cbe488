import type { TensorInfo } from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { dispatchEach, newLike, vectorsIn, widthOf } from './vectors.js';

/** The sigmoid of a vector. */
export const SIGMOID = 'fn sigmoid(z: V) -> V { return 1f / (1f + exp(-z)); }';

const ERF = `fn erf(x: V) -> V {
  // Abramowitz and Stegun 7.1.26 is off by 1e-7; the tails by less.
  let a = abs(x); let t = 1f / (1f + 0.3275911 * a);
  let y = 1f - (((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * exp(-a * a);
  return select(y, -y, x < V(0f));
}`;

const lastOf = ({ shape }: TensorInfo): number => shape[shape.length - 1] ?? 1;

/** x * sigmoid(x). */
export function silu(device: WebGPUDevice, [x]: TensorInfo[]): TensorInfo[] {
  const width = widthOf(lastOf(x));
  const result = newLike(device, x);
  dispatchEach(
    device,
    {
      name: 'silu',
      width,
      read: { x },
      write: { result },
      sizes: {},
      functions: SIGMOID,
      body: 'let z = x(i); result(i, z * sigmoid(z));',
    },
    vectorsIn(x, width),
  );
  return [result];
}

export function siluGrad(device: WebGPUDevice, [x, dy]: TensorInfo[]): TensorInfo[] {
  const width = widthOf(lastOf(x));
  const result = newLike(device, x);
  dispatchEach(
    device,
    {
      name: 'siluGrad',
      width,
      read: { x, dy },
      write: { result },
      sizes: {},
      functions: SIGMOID,
      body: 'let z = x(i); let s = sigmoid(z); result(i, dy(i) * s * (1f + z * (1f - s)));',
    },
    vectorsIn(x, width),
  );
  return [result];
}

/** x [..., 2c] to its first half times the gelu (by erf) of its second. */
export function geglu(device: WebGPUDevice, [x]: TensorInfo[]): TensorInfo[] {
  const c = lastOf(x) / 2;
  const width = widthOf(c);
  const result = newLike(device, x, [...x.shape.slice(0, -1), c]);
  dispatchEach(
    device,
    {
      name: 'geglu',
      width,
      read: { x },
      write: { result },
      sizes: { columns: c / width },
      functions: ERF,
      body: `let at = (i / columns) * 2u * columns + i % columns; let gate = x(at + columns);
  result(i, x(at) * 0.5 * gate * (1f + erf(gate * ${Math.SQRT1_2})));`,
    },
    vectorsIn(result, width),
  );
  return [result];
}

export function gegluGrad(device: WebGPUDevice, [x, dy]: TensorInfo[]): TensorInfo[] {
  const c = lastOf(x) / 2;
  const width = widthOf(c);
  const result = newLike(device, x);
  dispatchEach(
    device,
    {
      name: 'gegluGrad',
      width,
      read: { x, dy },
      write: { result },
      sizes: { columns: c / width },
      functions: ERF,
      // A thread computes both halves: they share everything.
      body: `let at = (i / columns) * 2u * columns + i % columns;
  let value = x(at); let gate = x(at + columns); let g = dy(i);
  let phi = 0.5 * (1f + erf(gate * ${Math.SQRT1_2}));
  result(at, g * gate * phi);
  result(at + columns, g * value * (phi + gate * exp(-0.5 * gate * gate) * ${1 / Math.sqrt(2 * Math.PI)}));`,
    },
    vectorsIn(dy, width),
  );
  return [result];
}
