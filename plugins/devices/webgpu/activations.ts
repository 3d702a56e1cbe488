import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch, flat } from './dispatch.js';

/** silu and its derivative, of a number z. */
export const SIGMOID = 'fn sigmoid(z: f32) -> f32 { return 1f / (1f + exp(-z)); }';

const ERF = `fn erf(x: f32) -> f32 {
  // Abramowitz and Stegun 7.1.26 is off by 1e-7; the tails by less.
  let a = abs(x); let t = 1f / (1f + 0.3275911 * a);
  let y = 1f - (((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * exp(-a * a);
  return select(y, -y, x < 0f);
}`;

/** An element-wise kernel: `body` sets result[i]. */
function pointwise(
  device: WebGPUDevice,
  name: string,
  read: string[],
  inputs: TensorInfo[],
  shape: number[],
  functions: string,
  body: string,
): TensorInfo[] {
  const out = device.newTensor(shape);
  const { groups, head } = flat(tf.util.sizeFromShape(shape));
  dispatch(device, {
    name,
    code: () => `${buffers(read, ['result'])}\n${functions}\n${head}\n${body}\n}`,
    tensors: [...inputs, out],
    groups,
  });
  return [out];
}

/** x * sigmoid(x). */
export const silu = (device: WebGPUDevice, [x]: TensorInfo[]): TensorInfo[] =>
  pointwise(device, 'silu', ['x'], [x], [...x.shape], SIGMOID, 'result[i] = x[i] * sigmoid(x[i]);');

export const siluGrad = (device: WebGPUDevice, [x, dy]: TensorInfo[]): TensorInfo[] =>
  pointwise(
    device,
    'siluGrad',
    ['x', 'dy'],
    [x, dy],
    [...x.shape],
    SIGMOID,
    'let s = sigmoid(x[i]); result[i] = dy[i] * s * (1f + x[i] * (1f - s));',
  );

/** x [..., 2c] to its first half times the gelu (by erf) of its second. */
export function geglu(device: WebGPUDevice, [x]: TensorInfo[]): TensorInfo[] {
  const c = x.shape[x.shape.length - 1] / 2;
  return pointwise(
    device,
    'geglu',
    ['x'],
    [x],
    [...x.shape.slice(0, -1), c],
    ERF,
    `let at = (i / ${c}u) * ${2 * c}u + i % ${c}u; let gate = x[at + ${c}u];
  result[i] = x[at] * 0.5 * gate * (1f + erf(gate * ${Math.SQRT1_2}));`,
  );
}

export function gegluGrad(device: WebGPUDevice, [x, dy]: TensorInfo[]): TensorInfo[] {
  const c = x.shape[x.shape.length - 1] / 2;
  return pointwise(
    device,
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
