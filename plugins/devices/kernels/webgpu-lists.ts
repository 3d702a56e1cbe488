import type { Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { FUSED, registerLists } from './names.js';
import { buffers, dispatch, flat, type WebGPUBackendParts } from './webgpu-dispatch.js';

const current = (): WebGPUBackendParts => tf.backend() as unknown as WebGPUBackendParts;

/** Numbers a thread of the sum of squares adds. */
const PER_GROUP = 256 * 64;

/** In-place kernels of optimizers and averages. Variables keep their buffers: nothing is copied. */
export const registerWebGPULists = (): void =>
  registerLists('webgpu', {
    [FUSED.adamw]({ parameters, factors, beta1, beta2, epsilon }) {
      const backend = current();
      for (const { p, g, m, v } of parameters) {
        const { groups, head } = flat(p.size);
        dispatch(backend, {
          name: `adamw ${beta1} ${beta2} ${epsilon}`,
          code: () => `${buffers(['g', 'factors'], ['p', 'm', 'v'])}
${head}
  if (factors[3] == 0f) { return; }
  let x = g[i] * factors[2];
  let m1 = m[i] + (x - m[i]) * ${1 - beta1};
  let v1 = v[i] + (x * x - v[i]) * ${1 - beta2};
  m[i] = m1;
  v[i] = v1;
  p[i] -= factors[0] * (m1 / factors[4] / (sqrt(v1 / factors[5]) + ${epsilon}) + factors[1] * p[i]);
}`,
          tensors: [g, factors, p, m, v],
          groups,
        });
      }
    },

    [FUSED.sumSquares](tensors) {
      const backend = current();
      const counts = tensors.map((t) => Math.ceil(t.size / PER_GROUP));
      const partial = tf
        .engine()
        .makeTensorFromTensorInfo(backend.makeTensorInfo([counts.reduce((a, b) => a + b, 0)], 'float32')) as Tensor;
      // Where a tensor's sums go is told by a buffer, so that tensors of one size share a pipeline.
      let first = 0;
      for (const [k, t] of tensors.entries()) {
        const at = place(first);
        first += counts[k];
        dispatch(backend, {
          name: 'sumSquares',
          code: () => `${buffers(['x', 'place'], ['partial'])}
var<workgroup> scratch: array<f32, 256>;
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  var sum = 0f;
  for (var i = group.x * ${PER_GROUP}u + local; i < min(${t.size}u, (group.x + 1u) * ${PER_GROUP}u); i += 256u) { sum += x[i] * x[i]; }
  scratch[local] = sum;
  workgroupBarrier();
  for (var width = 128u; width > 0u; width /= 2u) {
    if (local < width) { scratch[local] += scratch[local + width]; }
    workgroupBarrier();
  }
  if (local == 0u) { partial[u32(place[0]) + group.x] = scratch[0]; }
}`,
          tensors: [t, at, partial],
          groups: [counts[k]],
        });
      }
      const total = partial.sum();
      partial.dispose();
      return total;
    },

    [FUSED.lerp](pairs, weight) {
      const backend = current();
      const w = tf.scalar(weight);
      for (const { a, b } of pairs) {
        const { groups, head } = flat(a.size);
        dispatch(backend, {
          name: 'lerp',
          code: () => `${buffers(['b', 'weight'], ['a'])}\n${head}\n  a[i] += (b[i] - a[i]) * weight[0];\n}`,
          tensors: [b, w, a],
          groups,
        });
      }
      w.dispose();
    },
  });

const places = new WeakMap<object, Map<number, Tensor>>();

/** A kept scalar with this value on the current device; offsets repeat every step. */
function place(value: number): Tensor {
  const backend = tf.backend();
  let known = places.get(backend);
  if (!known) places.set(backend, (known = new Map()));
  let made = known.get(value);
  if (!made) known.set(value, (made = tf.keep(tf.scalar(value))));
  return made;
}
