import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';

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
    name: 'addSlices',
    named: true,
    code: () => `${buffers(['parts'], ['result'])}
${sizesBinding(2)}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  ${namedSizes(['slices', 'size'])}
  if (gid.x >= size) { return; }
  var sum = 0f;
  for (var s = 0u; s < slices; s++) { sum += parts[(gid.y * slices + s) * size + gid.x]; }
  result[gid.y * size + gid.x] = sum;
}`,
    tensors: [sliced, out],
    shared: [sizesBuffer(device, [slices, size])],
    groups: [Math.ceil(size / 64), batch],
  });
  device.dispose(sliced);
}
