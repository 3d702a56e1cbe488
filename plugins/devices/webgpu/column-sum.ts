import type { TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';

/** [rows, c] to [c]. */
export function columnSum(device: WebGPUDevice, [x]: TensorInfo[]): TensorInfo[] {
  const [rows, c] = x.shape;
  const slices = Math.min(128, Math.ceil(rows / 64));
  const partial = slices > 1 ? device.newTensor([slices, c]) : device.newTensor([c]);
  const add = (from: TensorInfo, to: TensorInfo, count: number, step: number) =>
    dispatch(device, {
      name: `columnSum ${count} ${step}`,
      code: () => `${buffers(['x'], ['result'])}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  if (gid.x >= ${c}u) { return; }
  var sum = 0f;
  for (var row = gid.y; row < ${count}u; row += ${step}u) { sum += x[row * ${c}u + gid.x]; }
  result[gid.y * ${c}u + gid.x] = sum;
}`,
      tensors: [from, to],
      groups: [Math.ceil(c / 64), step],
    });
  add(x, partial, rows, slices);
  if (slices === 1) return [partial];
  const out = device.newTensor([c]);
  add(partial, out, slices, 1);
  device.dispose(partial);
  return [out];
}
