import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WasmDevice } from './device.js';

export function silu(device: WasmDevice, [x]: TensorInfo[]): TensorInfo[] {
  const out = device.newTensor(x.shape);
  device.module.silu(device.address(x), device.address(out), tf.util.sizeFromShape(x.shape));
  return [out];
}

export function siluGrad(device: WasmDevice, [x, dy]: TensorInfo[]): TensorInfo[] {
  const out = device.newTensor(x.shape);
  device.module.siluGrad(device.address(x), device.address(dy), device.address(out), tf.util.sizeFromShape(x.shape));
  return [out];
}

export function geglu(device: WasmDevice, [x]: TensorInfo[]): TensorInfo[] {
  const c = x.shape[x.shape.length - 1] / 2;
  const out = device.newTensor([...x.shape.slice(0, -1), c]);
  device.module.geglu(device.address(x), device.address(out), tf.util.sizeFromShape(x.shape) / c / 2, c);
  return [out];
}

export function gegluGrad(device: WasmDevice, [x, dy]: TensorInfo[]): TensorInfo[] {
  const c = x.shape[x.shape.length - 1] / 2;
  const dx = device.newTensor(x.shape);
  device.module.gegluGrad(device.address(x), device.address(dy), device.address(dx), tf.util.sizeFromShape(x.shape) / c / 2, c);
  return [dx];
}
