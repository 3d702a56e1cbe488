import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { SoftmaxAttributes } from '../compute/contract.js';
import type { WasmDevice } from './device.js';

export function softmaxGrad(device: WasmDevice, [p, dp]: TensorInfo[], { scale }: SoftmaxAttributes): TensorInfo[] {
  const c = p.shape[p.shape.length - 1];
  const ds = device.newTensor(p.shape);
  const [probability, g, out] = [device.view(p), device.view(dp), device.view(ds)];
  for (let from = 0; from < out.length; from += c) {
    let sum = 0;
    for (let j = from; j < from + c; j++) sum += probability[j] * g[j];
    for (let j = from; j < from + c; j++) out[j] = probability[j] * (g[j] - sum) * scale;
  }
  return [ds];
}

export function softmax(device: WasmDevice, [x]: TensorInfo[], { scale }: SoftmaxAttributes): TensorInfo[] {
  const c = x.shape[x.shape.length - 1];
  const out = device.newTensor(x.shape);
  device.module.softmax(device.address(x), device.address(out), tf.util.sizeFromShape(x.shape) / c, c, scale);
  return [out];
}
