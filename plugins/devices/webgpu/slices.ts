import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';

/**
 * Adds up what groups of threads have computed of a long sum, a slice each: [batch, slices, ...] into `out`, [batch, ...]. `sliced` is
 * disposed.
 */
export function addSlices(
  device: WebGPUDevice,
  sliced: TensorInfo,
  out: TensorInfo,
  { batch, slices }: { readonly batch: number; readonly slices: number },
): void {
  const size = tf.util.sizeFromShape(out.shape) / batch;
  dispatch(device, {
    name: `addSlices ${slices} ${size}`,
    code: () => `${buffers(['parts'], ['result'])}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  if (gid.x >= ${size}u) { return; }
  var sum = 0f;
  for (var s = 0u; s < ${slices}u; s++) { sum += parts[(gid.y * ${slices}u + s) * ${size}u + gid.x]; }
  result[gid.y * ${size}u + gid.x] = sum;
}`,
    tensors: [sliced, out],
    groups: [Math.ceil(size / 64), batch],
  });
  device.dispose(sliced);
}
