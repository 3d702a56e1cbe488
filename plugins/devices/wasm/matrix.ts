import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WasmDevice } from './device.js';

const shapeBytes = (shape: readonly number[]) => new Uint8Array(new Int32Array(shape).buffer);

/** The last two axes in each other's place. */
export function transposed(device: WasmDevice, x: TensorInfo): TensorInfo {
  const rank = x.shape.length;
  const perm = x.shape.map((_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
  return device.run('Transpose', { x }, { perm });
}

/** Products of a batch smaller than this, in multiplications, cost XNNPACK more to begin than to do. */
const SMALL = 1 << 19;
/** With so few rows or columns (adapters have them) XNNPACK is busy packing the other operand. */
export const NARROW = 16;

/** a [.., m, k] times b [.., k, n]; small products of a batch go to our module, others through XNNPACK on views into the heap. */
export function matMul(device: WasmDevice, a: TensorInfo, b: TensorInfo, transposeA: boolean, transposeB: boolean): TensorInfo {
  const [rows, inner] = transposeA ? [a.shape[a.shape.length - 1], a.shape[a.shape.length - 2]] : a.shape.slice(-2);
  const columns = transposeB ? b.shape[b.shape.length - 2] : b.shape[b.shape.length - 1];
  if (rows * inner * columns < SMALL || Math.min(rows, columns) <= NARROW)
    return smallMatMul(device, a, b, transposeA, transposeB, rows, inner, columns);
  const left = transposeA ? transposed(device, a) : a;
  const right = transposeB ? transposed(device, b) : b;
  const [m, k] = left.shape.slice(-2);
  const n = right.shape[right.shape.length - 1];
  const [batchA, batchB] = [tf.util.sizeFromShape(left.shape.slice(0, -2)), tf.util.sizeFromShape(right.shape.slice(0, -2))];
  const batch = Math.max(batchA, batchB);
  const outer = (left.shape.length >= right.shape.length ? left : right).shape.slice(0, -2);
  const out = device.newTensor([...outer, m, n]);
  const [aShape, bShape] = [shapeBytes([1, m, k]), shapeBytes([1, k, n])];
  const { backend, multiply } = device;
  const { tfjs } = backend.wasm;
  const [aAt, bAt, outAt] = [left, right, out].map((t) => device.address(t));
  // The views get new numbers: under a weight's number it may be packed for a convolution already.
  const first = backend.dataIdNextNumber;
  backend.dataIdNextNumber += 3;
  for (let i = 0; i < batch; i++) {
    tfjs.registerTensor(first, m * k, aAt + (batchA > 1 ? i * m * k * 4 : 0));
    tfjs.registerTensor(first + 1, k * n, bAt + (batchB > 1 ? i * k * n * 4 : 0));
    tfjs.registerTensor(first + 2, m * n, outAt + i * m * n * 4);
    multiply(first, aShape, 3, first + 1, bShape, 3, 0, 0, first + 2);
    for (let j = 0; j < 3; j++) tfjs.disposeData(first + j);
  }
  if (left !== a) device.free(left);
  if (right !== b) device.free(right);
  return out;
}

function smallMatMul(
  device: WasmDevice,
  a: TensorInfo,
  b: TensorInfo,
  transposeA: boolean,
  transposeB: boolean,
  m: number,
  k: number,
  n: number,
): TensorInfo {
  const right = transposeB ? transposed(device, b) : b;
  const [batchA, batchB] = [tf.util.sizeFromShape(a.shape.slice(0, -2)), tf.util.sizeFromShape(b.shape.slice(0, -2))];
  const outer = (a.shape.length >= b.shape.length ? a : b).shape.slice(0, -2);
  const out = device.newTensor([...outer, m, n]);
  const [at, strides] = [device.address(a), transposeA ? [1, m] : [k, 1]];
  const batch = Math.max(batchA, batchB);
  device.module.multiply(
    at,
    device.address(right),
    device.address(out),
    batch,
    m,
    k,
    n,
    strides[0],
    strides[1],
    batchA > 1 ? m * k : 0,
    batchB > 1 ? k * n : 0,
  );
  if (right !== b) device.free(right);
  return out;
}
