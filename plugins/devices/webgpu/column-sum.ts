import type { TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';
import { addSlices } from './slices.js';

/** [rows, c] to [c]. */
export function columnSum(device: WebGPUDevice, [x]: TensorInfo[]): TensorInfo[] {
  const [rows, c] = x.shape;
  const slices = Math.min(128, Math.ceil(rows / 64));
  const sums = device.newTensor(slices > 1 ? [slices, c] : [c]);
  dispatch(device, {
    name: `columnSum ${rows} ${slices}`,
    code: () => `${buffers(['x'], ['result'])}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  if (gid.x >= ${c}u) { return; }
  var sum = 0f;
  for (var row = gid.y; row < ${rows}u; row += ${slices}u) { sum += x[row * ${c}u + gid.x]; }
  result[gid.y * ${c}u + gid.x] = sum;
}`,
    tensors: [x, sums],
    groups: [Math.ceil(c / 64), slices],
  });
  if (slices === 1) return [sums];
  const out = device.newTensor([c]);
  addSlices(device, sums, out, { batch: 1, slices });
  return [out];
}
