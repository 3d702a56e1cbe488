import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch, grid } from './dispatch.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';

/** silu and its derivative, of a number z. */
export const SIGMOID = 'fn sigmoid(z: f32) -> f32 { return 1f / (1f + exp(-z)); }';

const ERF = `fn erf(x: f32) -> f32 {
  // Abramowitz and Stegun 7.1.26 is off by 1e-7; the tails by less.
  let a = abs(x); let t = 1f / (1f + 0.3275911 * a);
  let y = 1f - (((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * exp(-a * a);
  return select(y, -y, x < 0f);
}`;

/** An element-wise kernel: `body` sets result[i], and knows the last axis of the result as `width`. */
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
  const count = tf.util.sizeFromShape(shape);
  const groups = grid(Math.ceil(count / 256));
  dispatch(device, {
    name,
    named: true,
    code: () => `${buffers(read, ['result'])}
${sizesBinding(read.length + 1)}
${functions}
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) gid: vec3u) {
  ${namedSizes(['count', 'width', 'across'])}
  let i = gid.x + gid.y * across;
  if (i >= count) { return; }
  ${body}
}`,
    tensors: [...inputs, out],
    shared: [sizesBuffer(device, [count, shape[shape.length - 1] ?? 1, groups[0] * 256])],
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
    `let at = (i / width) * 2u * width + i % width; let gate = x[at + width];
  result[i] = x[at] * 0.5 * gate * (1f + erf(gate * ${Math.SQRT1_2}));`,
  );
}

export const gegluGrad = (device: WebGPUDevice, [x, dy]: TensorInfo[]): TensorInfo[] =>
  pointwise(
    device,
    'gegluGrad',
    ['x', 'dy'],
    [x, dy],
    [...x.shape],
    ERF,
    `let c = width / 2u; let row = i / width; let j = i % width; let k = j % c;
  let value = x[row * width + k]; let gate = x[row * width + c + k]; let g = dy[row * c + k];
  let phi = 0.5 * (1f + erf(gate * ${Math.SQRT1_2}));
  result[i] = select(g * value * (phi + gate * exp(-0.5 * gate * gate) * ${1 / Math.sqrt(2 * Math.PI)}), g * gate * phi, j < c);`,
  );
