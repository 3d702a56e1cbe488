import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { SoftmaxAttributes } from '../compute/contract.js';
import type { WasmDevice } from './device.js';

/** A number takes as long as so many multiplications. */
const WORK = 8;

function overRows(device: WasmDevice, name: 'softmax' | 'softmaxGrad', tensors: TensorInfo[], scale: number): TensorInfo[] {
  const [{ shape }] = tensors;
  const c = shape[shape.length - 1];
  const out = device.newTensor(shape);
  const count = tf.util.sizeFromShape(shape);
  device.overBlocks(name, [...[...tensors, out].map((t) => device.address(t)), c, scale], count / c, WORK * count);
  return [out];
}

export const softmax = (device: WasmDevice, [x]: TensorInfo[], { scale }: SoftmaxAttributes): TensorInfo[] =>
  overRows(device, 'softmax', [x], scale);

export const softmaxGrad = (device: WasmDevice, [p, dp]: TensorInfo[], { scale }: SoftmaxAttributes): TensorInfo[] =>
  overRows(device, 'softmaxGrad', [p, dp], scale);
