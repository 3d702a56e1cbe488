import type { TensorInfo } from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { TILE_SUM, tiled } from './group-sums.js';
import { addSlices } from './slices.js';
import { dispatchVectors, widthOf } from './vectors.js';

/** [rows, c] to [c]. */
export const columnSum = (device: WebGPUDevice, [x]: TensorInfo[]): TensorInfo[] => [sums(device, x, 1, [x.shape[1]])];

/** [n, ..., c] to [n, c]. */
export const pixelSum = (device: WebGPUDevice, [x]: TensorInfo[]): TensorInfo[] => {
  const [n] = x.shape;
  return [sums(device, x, n, [n, x.shape[x.shape.length - 1]])];
};

/** The sums of each of n examples down its columns, always in single precision. */
function sums(device: WebGPUDevice, x: TensorInfo, n: number, shape: number[]): TensorInfo {
  const c = x.shape[x.shape.length - 1];
  const pixels = x.shape.reduce((a, b) => a * b, 1) / n / c;
  const width = widthOf(c);
  const { slices, head, loop, sizes, groups } = tiled(n, pixels, c / width);
  const result = device.newTensor(slices > 1 ? [n, slices, c] : shape);
  dispatchVectors(device, {
    name: 'columnSum',
    width,
    read: { x },
    write: { result },
    sizes,
    functions: TILE_SUM,
    body: `${head}
  var sum = V(0f);
  ${loop('sum += x(i);')}
  let whole = tileSum(sum, local);
  if (live && local < 16u) { result(sliceRow * columns + at, whole); }`,
    groups,
  });
  if (slices === 1) return result;
  const out = device.newTensor(shape);
  addSlices(device, result, out, { batch: n, slices });
  return out;
}
