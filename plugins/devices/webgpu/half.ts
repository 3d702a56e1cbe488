import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { buffers, type Dispatch, dispatch, grid } from './dispatch.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';
import { HALVES } from './storage.js';

/** Whether it is stored in half precision. */
export const isHalf = (device: WebGPUDevice, tensor: TensorInfo): boolean => device.entryOf(tensor).half === true;

/** One thread a vector: `body` with `i`, below `count` vectors. */
const byVectors = (device: WebGPUDevice, name: string, code: string, tensors: readonly TensorInfo[], count: number): Dispatch => {
  const groups = grid(Math.ceil(count / 256));
  return {
    name,
    named: true,
    halves: true,
    code: () => code,
    tensors,
    shared: [sizesBuffer(device, [count, groups[0] * 256])],
    groups,
  };
};

const HEAD = `@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) gid: vec3u) {
  ${namedSizes(['count', 'across'])}
  let i = gid.x + gid.y * across;
  if (i >= count) { return; }`;

/** A copy in half precision; what float16 cannot hold becomes infinite. Its last axis is a multiple of {@link HALVES}. */
export function toHalf(device: WebGPUDevice, x: TensorInfo): TensorInfo {
  const out = device.newTensor(x.shape, true);
  const count = tf.util.sizeFromShape(x.shape) / HALVES;
  const code = `@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4u>;
${sizesBinding(2)}
${HEAD}
  let a = x[2u * i]; let b = x[2u * i + 1u];
  result[i] = vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}`;
  if (count > 0) dispatch(device, byVectors(device, 'toHalf', code, [x, out], count));
  return out;
}

/** A copy in single precision. */
export function toFull(device: WebGPUDevice, x: TensorInfo): TensorInfo {
  const out = device.newTensor(x.shape);
  const count = Math.ceil(tf.util.sizeFromShape(x.shape) / 2);
  const code = `${buffers(['x'], ['result']).replace('x: array<f32>', 'x: array<u32>')}
${sizesBinding(2)}
${HEAD}
  let pair = unpack2x16float(x[i]);
  result[2u * i] = pair.x;
  if (2u * i + 1u < arrayLength(&result)) { result[2u * i + 1u] = pair.y; }
}`;
  if (count > 0) dispatch(device, byVectors(device, 'toFull', code, [x, out], count));
  return out;
}

/** Calls `use` with float32 copies of what is stored in half precision, which are freed afterwards. */
export function withFull<T>(device: WebGPUDevice, tensors: readonly TensorInfo[], use: (tensors: TensorInfo[]) => T): T {
  const copies: TensorInfo[] = [];
  const full = tensors.map((tensor) => {
    if (!isHalf(device, tensor)) return tensor;
    const copy = toFull(device, tensor);
    copies.push(copy);
    return copy;
  });
  try {
    return use(full);
  } finally {
    for (const copy of copies) device.dispose(copy);
  }
}
