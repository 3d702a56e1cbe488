import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { Kernel } from '../compute/kernels.js';
import type { WebGPUDevice } from './device.js';
import { dispatch, grid } from './dispatch.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';

const SIZES = ['count', 'across', 'length', 'outer', 'wanted', 'columns'];

const CODE = `@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;
${sizesBinding(3)}
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) gid: vec3u) {
  ${namedSizes(SIZES)}
  let i = gid.x + gid.y * across;
  if (i >= count) { return; }
  // [batch, outer, wanted, columns] from [batch, outer, length, columns] by [batch, wanted].
  let block = i / columns / wanted;
  // One below 0 is a large one here.
  let row = indices[block / outer * wanted + i / columns % wanted];
  var value = 0u;
  if (row < length) { value = x[(block * length + row) * columns + i % columns]; }
  result[i] = value;
}`;

/**
 * Rows by their indices, 0 where there is no such row. TensorFlow.js's kernel reads before it looks whether there is one, which ends a process where Dawn does
 * not limit it.
 */
export const gather =
  (original: Kernel<WebGPUDevice>): Kernel<WebGPUDevice> =>
  (call) => {
    const { inputs, attrs, device } = call;
    const { x, indices } = inputs;
    const { backend } = device;
    const { dtype } = device.entryOf(x);
    if (dtype === 'complex64' || dtype === 'string' || backend.shouldExecuteOnCPU([x, indices])) return original(call);
    const [axis] = tf.util.parseAxisParam(attrs.axis as number, x.shape);
    const found = tf.backend_util.segment_util.collectGatherOpShapeInfo(
      x as tf.Tensor,
      indices as tf.Tensor,
      axis,
      attrs.batchDims as number,
    );
    // Bits are copied: integers that TensorFlow.js renamed to floats stay what they are in memory.
    const result: TensorInfo = { ...backend.makeTensorInfo(found.outputShape, dtype), dtype: x.dtype };
    const count = tf.util.sizeFromShape(found.outputShape);
    if (count === 0) return result;
    const groups = grid(Math.ceil(count / 256));
    const ids = device.entryOf(indices);
    const { resource, values } = ids;
    const wanted = tf.util.sizeFromShape(indices.shape) / found.batchSize;
    dispatch(device, {
      name: 'gather',
      named: true,
      code: () => CODE,
      tensors: [x, indices, result],
      integers: [x, indices, result],
      shared: [sizesBuffer(device, [count, groups[0] * 256, found.dimSize, found.outerSize, wanted, found.sliceSize])],
      groups,
    });
    // A batch's may still be looked at on the host.
    if (resource) ids.values = values;
    return result;
  };
