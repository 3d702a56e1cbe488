import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { dispatch, grid } from './dispatch.js';
import { isHalf } from './half.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';

/**
 * Adds up what groups of threads have computed of a long sum, a slice each: [batch, slices, ...] into `out`, [batch, ...], with what else is added:
 * `bias`, a number for each place of the last axis, and `rest`, a tensor like the result. `sliced` is disposed. Halves are written where `out` has them.
 */
export function addSlices(
  device: WebGPUDevice,
  sliced: TensorInfo,
  out: TensorInfo,
  {
    batch,
    slices,
    bias,
    rest,
  }: { readonly batch: number; readonly slices: number; readonly bias?: TensorInfo | undefined; readonly rest?: TensorInfo | undefined },
): void {
  const size = tf.util.sizeFromShape(out.shape) / batch;
  const half = isHalf(device, out);
  const halfRest = rest !== undefined && isHalf(device, rest);
  const columns = out.shape[out.shape.length - 1];
  // A thread writes two numbers where they are halves.
  const each = half ? 2 : 1;
  const groups = grid(Math.ceil(size / each / 64));
  const tensors = [sliced, ...(bias ? [bias] : []), ...(rest ? [rest] : []), out];
  const names = ['parts', ...(bias ? ['bias'] : []), ...(rest ? ['rest'] : [])];
  dispatch(device, {
    name: `addSlices ${half} ${bias !== undefined} ${rest ? halfRest : ''}`,
    named: true,
    halves: true,
    code: () => `${names.map((name, i) => `@group(0) @binding(${i}) var<storage, read> ${name}: array<${name === 'rest' && halfRest ? 'u32' : 'f32'}>;`).join('\n')}
@group(0) @binding(${names.length}) var<storage, read_write> result: array<${half ? 'u32' : 'f32'}>;
${sizesBinding(tensors.length)}
fn total(i: u32, b: u32, slices: u32, size: u32, columns: u32) -> f32 {
  var sum = 0f;
  for (var s = 0u; s < slices; s++) { sum += parts[(b * slices + s) * size + i]; }
  ${bias ? 'sum += bias[i % columns];' : ''}
  ${rest ? `let at = b * size + i; sum += ${halfRest ? 'unpack2x16float(rest[at / 2u])[at % 2u]' : 'rest[at]'};` : ''}
  return sum;
}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  ${namedSizes(['slices', 'size', 'columns', 'across'])}
  let i = (gid.x + gid.y * across) * ${each}u;
  if (i >= size) { return; }
  ${
    half
      ? 'result[(gid.z * size + i) / 2u] = pack2x16float(vec2f(total(i, gid.z, slices, size, columns), total(i + 1u, gid.z, slices, size, columns)));'
      : 'result[gid.z * size + i] = total(i, gid.z, slices, size, columns);'
  }
}`,
    tensors,
    shared: [sizesBuffer(device, [slices, size, columns, groups[0] * 64])],
    groups: [...groups, batch],
  });
  device.dispose(sliced);
}
