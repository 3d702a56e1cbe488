import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { dispatch, grid } from './dispatch.js';
import { isHalf } from './half.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';

/** A rest is stored in so many bits a number, 0 where there is none. */
const SIZES = ['slices', 'size', 'columns', 'across', 'hasBias', 'restWidth'];

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
  const columns = out.shape[out.shape.length - 1];
  // A thread writes two numbers where they are halves.
  const each = half ? 2 : 1;
  const groups = grid(Math.ceil(size / each / 64));
  dispatch(device, {
    name: `addSlices ${half}`,
    named: true,
    halves: true,
    code: () => `@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read> rest: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<${half ? 'u32' : 'f32'}>;
${sizesBinding(4)}
fn total(i: u32, b: u32) -> f32 {
  ${namedSizes(SIZES)}
  var sum = 0f;
  for (var s = 0u; s < slices; s++) { sum += parts[(b * slices + s) * size + i]; }
  if (hasBias != 0u) { sum += bias[i % columns]; }
  let at = b * size + i;
  if (restWidth == 32u) { sum += bitcast<f32>(rest[at]); }
  if (restWidth == 16u) { sum += unpack2x16float(rest[at / 2u])[at % 2u]; }
  return sum;
}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  ${namedSizes(SIZES)}
  let i = (gid.x + gid.y * across) * ${each}u;
  if (i >= size) { return; }
  ${
    half
      ? 'result[(gid.z * size + i) / 2u] = pack2x16float(vec2f(total(i, gid.z), total(i + 1u, gid.z)));'
      : 'result[gid.z * size + i] = total(i, gid.z);'
  }
}`,
    // What is not there is not read.
    tensors: [sliced, bias ?? sliced, rest ?? sliced, out],
    shared: [sizesBuffer(device, [slices, size, columns, groups[0] * 64, bias ? 1 : 0, rest ? (isHalf(device, rest) ? 16 : 32) : 0])],
    groups: [...groups, batch],
    adds: half || bias || rest || batch > 1 ? undefined : { slices, size },
  });
  device.dispose(sliced);
}
