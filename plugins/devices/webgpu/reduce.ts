import type { Scalar, Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { DeviceOperations } from '../compute/contract.js';
import type { Arrays, Program } from '../compute/program.js';
import { BucketReducer } from './bucket-reducer.js';
import type { WebGPUDevice } from './device.js';
import { dispatch } from './dispatch.js';
import { gathered } from './factors.js';
import { bindings, isWide, statements } from './program.js';

/** The sum of a program's `sum` over every element of every group, a scalar on the device; the caller disposes it. */
export const summer =
  (device: WebGPUDevice): DeviceOperations['sum'] =>
  (program, list, factors) => {
    const { maxStorageBuffersPerShaderStage: most } = device.backend.device.limits;
    const atOnce = Math.floor((most - 3) / program.arrays.length);
    return tf.tidy(() => {
      const values = program.factors.map((name) => factors[name]);
      const buffer = values.length > 0 ? gathered(device, values) : null;
      const counts = list.map((group) => sumsOf(program, group));
      const out = device.trackedTensor([counts.reduce((a, b) => a + b, 0)]);
      let start = 0;
      for (let at = 0; at < list.length; at += atOnce) {
        partialSums(device, program, list.slice(at, at + atOnce), buffer, out, start);
        for (const count of counts.slice(at, at + atOnce)) start += count;
      }
      return out.sum() as Scalar;
    });
  };

/** Adds up tensors over ranks, bucket by bucket, while the device computes. */
export const reducer =
  (device: WebGPUDevice): DeviceOperations['reducer'] =>
  (collective, options) =>
    new BucketReducer(device, collective, options);

/** Elements that one workgroup of a sum adds up. */
const PER_GROUP = 256 * 64;

/** How many partial sums a group of arrays has. */
const sumsOf = (program: Program, group: Arrays): number => Math.ceil(group[program.arrays[0]].size / PER_GROUP);

/** Partial sums of several groups of arrays, written to `out` from `start` on, one or more for each; the caller adds them up. */
function partialSums(
  device: WebGPUDevice,
  program: Program,
  part: readonly Arrays[],
  factors: Tensor | null,
  out: Tensor,
  start: number,
): void {
  const elements = part.map((group) => group[program.arrays[0]].size);
  const wide = isWide(elements);
  const sizes = elements.map((size) => (wide ? size / 4 : size));
  const perGroup = wide ? PER_GROUP / 4 : PER_GROUP;
  const counts = part.map((group) => sumsOf(program, group));
  const most = Math.max(...counts);
  const first = ['var<storage, read_write> partial: array<f32>;', ...(factors ? ['var<storage, read> factors: array<f32>;'] : [])];
  dispatch(device, {
    name: `sum ${program.name} ${wide} ${factors !== null} ${sizes.join()}`,
    named: true,
    code: () => `${bindings(program, part.length, first, wide)}
@group(0) @binding(${first.length + part.length * program.arrays.length}) var<storage, read> start: array<u32>;
var<workgroup> scratch: array<f32, 256>;
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  var sum = ${wide ? 'vec4f(0f)' : '0f'};
  var at = 0u;
${part
  .map((_, k) => {
    const { lines, results } = statements(program, (name) => `${name}${k}[i]`, wide);
    return `  if (group.y == ${k}u) {
    if (group.x >= ${counts[k]}u) { return; }
    at = ${counts.slice(0, k).reduce((a, b) => a + b, 0)}u;
    for (var i = group.x * ${perGroup}u + local; i < min(${sizes[k]}u, (group.x + 1u) * ${perGroup}u); i += 256u) {
      ${[...lines, `sum += ${results[0].value};`].join('\n      ')}
    }
  }`;
  })
  .join('\n')}
  scratch[local] = ${wide ? 'dot(sum, vec4f(1f))' : 'sum'};
  workgroupBarrier();
  for (var width = 128u; width > 0u; width /= 2u) {
    if (local < width) { scratch[local] += scratch[local + width]; }
    workgroupBarrier();
  }
  if (local == 0u) { partial[start[0] + at + group.x] = scratch[0]; }
}`,
    tensors: [out, ...(factors ? [factors] : []), ...part.flatMap((group) => program.arrays.map((name) => group[name]))],
    shared: [device.constantBuffer(`start ${start}`, () => device.filledBuffer(new Uint32Array([start])))],
    groups: [most, part.length],
  });
}
