import type { TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';
import { addSlices } from './slices.js';

/** [rows, c] to [c]. */
export function columnSum(device: WebGPUDevice, [x]: TensorInfo[]): TensorInfo[] {
  const [rows, c] = x.shape;
  const slices = Math.min(128, Math.ceil(rows / 64));
  const sums = device.newTensor(slices > 1 ? [slices, c] : [c]);
  dispatch(device, {
    name: 'columnSum',
    named: true,
    code: () => `${buffers(['x'], ['result'])}
${sizesBinding(2)}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  ${namedSizes(['rows', 'c', 'slices'])}
  if (gid.x >= c) { return; }
  var sum = 0f;
  for (var row = gid.y; row < rows; row += slices) { sum += x[row * c + gid.x]; }
  result[gid.y * c + gid.x] = sum;
}`,
    tensors: [x, sums],
    shared: [sizesBuffer(device, [rows, c, slices])],
    groups: [Math.ceil(c / 64), slices],
  });
  if (slices === 1) return [sums];
  const out = device.newTensor([c]);
  addSlices(device, sums, out, { batch: 1, slices });
  return [out];
}
