import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WasmDevice } from './device.js';

/** A number takes as long as so many multiplications. */
const WORK = 16;
/** Numbers of a block of silu and its gradient: see assembly/activations.ts. */
const BLOCK = 4096;

function overNumbers(device: WasmDevice, name: 'silu' | 'siluGrad', tensors: TensorInfo[]): TensorInfo[] {
  const out = device.newTensor(tensors[0].shape);
  const count = tf.util.sizeFromShape(out.shape);
  device.overBlocks(name, [...[...tensors, out].map((t) => device.address(t)), count], Math.ceil(count / BLOCK), WORK * count);
  return [out];
}

function overRows(device: WasmDevice, name: 'geglu' | 'gegluGrad', tensors: TensorInfo[], out: TensorInfo, c: number): TensorInfo[] {
  const count = tf.util.sizeFromShape(tensors[0].shape);
  device.overBlocks(name, [...[...tensors, out].map((t) => device.address(t)), c], count / c / 2, WORK * count);
  return [out];
}

const half = ({ shape }: TensorInfo) => shape[shape.length - 1] / 2;

export const silu = (device: WasmDevice, [x]: TensorInfo[]): TensorInfo[] => overNumbers(device, 'silu', [x]);

export const siluGrad = (device: WasmDevice, [x, dy]: TensorInfo[]): TensorInfo[] => overNumbers(device, 'siluGrad', [x, dy]);

export const geglu = (device: WasmDevice, [x]: TensorInfo[]): TensorInfo[] =>
  overRows(device, 'geglu', [x], device.newTensor([...x.shape.slice(0, -1), half(x)]), half(x));

export const gegluGrad = (device: WasmDevice, [x, dy]: TensorInfo[]): TensorInfo[] =>
  overRows(device, 'gegluGrad', [x, dy], device.newTensor(x.shape), half(x));
