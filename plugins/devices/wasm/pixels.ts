import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WasmDevice } from './device.js';

/** A number takes as long as so many multiplications: it is read and written. */
const WORK = 8;

/** Copies `lines` lines of `width` numbers, each so many numbers from the one before; addresses are in bytes. */
function copyLines(device: WasmDevice, from: [at: number, step: number], to: [at: number, step: number], width: number, lines: number) {
  if (width > 0) device.overBlocks('copyLines', [from[0], to[0], width, from[1], to[1]], lines, WORK * width * lines);
}

/** Numbers of all axes before one, and of that and all after it. */
const around = (shape: readonly number[], axis: number): [lines: number, width: number] => [
  tf.util.sizeFromShape(shape.slice(0, axis)),
  tf.util.sizeFromShape(shape.slice(axis)),
];

/** Tensors of float32 one behind the other along an axis. */
export function concat(device: WasmDevice, tensors: readonly TensorInfo[], axis: number): TensorInfo {
  const along = tensors.reduce((sum, { shape }) => sum + shape[axis], 0);
  const out = device.newTensor(tensors[0].shape.map((size, i) => (i === axis ? along : size)));
  const [lines, whole] = around(out.shape, axis);
  let at = device.address(out);
  for (const tensor of tensors) {
    const [, width] = around(tensor.shape, axis);
    copyLines(device, [device.address(tensor), width], [at, whole], width, lines);
    at += 4 * width;
  }
  return out;
}

/** Parts of x of float32, of so many each along an axis. */
export function split(device: WasmDevice, x: TensorInfo, sizes: readonly number[], axis: number): TensorInfo[] {
  const [lines, whole] = around(x.shape, axis);
  let done = 0;
  return sizes.map((along) => {
    const part = device.newTensor(x.shape.map((size, i) => (i === axis ? along : size)));
    const [, width] = around(part.shape, axis);
    copyLines(device, [device.address(x) + 4 * done, whole], [device.address(part), width], width, lines);
    done += width;
    return part;
  });
}

/** x [n, h, w, c] with every pixel twice in both directions. */
export function upsample(device: WasmDevice, [x]: TensorInfo[]): TensorInfo[] {
  const [n, h, w, c] = x.shape;
  const out = device.newTensor([n, 2 * h, 2 * w, c]);
  device.overBlocks('upsample', [device.address(x), device.address(out), w, c], n * h, 4 * WORK * n * h * w * c);
  return [out];
}

export function upsampleGrad(device: WasmDevice, [dy]: TensorInfo[]): TensorInfo[] {
  const [n, h, w, c] = dy.shape;
  const dx = device.newTensor([n, h / 2, w / 2, c]);
  device.overBlocks('upsampleGrad', [device.address(dy), device.address(dx), w / 2, c], (n * h) / 2, WORK * n * h * w * c);
  return [dx];
}

/** x [n, h, w, c] to [n, c]. */
export function pixelSum(device: WasmDevice, [x]: TensorInfo[]): TensorInfo[] {
  const [n, h, w, c] = x.shape;
  const sums = device.newTensor([n, c]);
  device.overBlocks('pixelSum', [device.address(x), device.address(sums), h * w, c], n, WORK * n * h * w * c);
  return [sums];
}
