import type { TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';

/** A sum over the 256 threads of a group, for everybody. `scratch` is used up to the next barrier. */
export const GROUP_SUM = `var<workgroup> scratch: array<f32, 256>;
fn groupSum(value: f32, local: u32) -> f32 {
  workgroupBarrier();
  scratch[local] = value;
  workgroupBarrier();
  for (var width = 128u; width > 0u; width /= 2u) {
    if (local < width) { scratch[local] += scratch[local + width]; }
    workgroupBarrier();
  }
  return scratch[0];
}`;

/** A row to 64 threads; their sums meet in shared memory. */
export const ROW_SUM = `var<workgroup> scratch: array<f32, 256>;
fn rowSum(value: f32, local: u32) -> f32 {
  let lane = local % 64u;
  workgroupBarrier();
  scratch[local] = value;
  workgroupBarrier();
  for (var width = 32u; width > 0u; width /= 2u) {
    if (lane < width) { scratch[local] += scratch[local + width]; }
    workgroupBarrier();
  }
  return scratch[local - lane];
}
fn rowMax(value: f32, local: u32) -> f32 {
  let lane = local % 64u;
  workgroupBarrier();
  scratch[local] = value;
  workgroupBarrier();
  for (var width = 32u; width > 0u; width /= 2u) {
    if (lane < width) { scratch[local] = max(scratch[local], scratch[local + width]); }
    workgroupBarrier();
  }
  return scratch[local - lane];
}`;

/** Four rows a group. Threads past the last row still meet the barriers. */
export function rowwise(rows: number): { groups: [number, number]; head: string } {
  const workgroups = Math.ceil(rows / 4);
  const x = Math.min(workgroups, 32768);
  return {
    groups: [x, Math.ceil(workgroups / x)],
    head: `@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let wanted = (group.y * ${x}u + group.x) * 4u + local / 64u;
  let live = wanted < ${rows}u;
  let row = min(wanted, ${rows - 1}u);
  let lane = local % 64u;`,
  };
}

/** Adds rows [rows, 2, c] to two tensors [c]; frees the rows. */
export function addRows(device: WebGPUDevice, partial: TensorInfo, rows: number, c: number): TensorInfo[] {
  const [a, b] = [device.newTensor([c]), device.newTensor([c])];
  dispatch(device, {
    name: 'addRows',
    named: true,
    code: () => `${buffers(['partial'], ['first', 'second'])}
${sizesBinding(3)}
${GROUP_SUM}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${namedSizes(['rows', 'c'])}
  var one = 0f; var two = 0f;
  for (var r = local; r < rows; r += 256u) {
    one += partial[r * 2u * c + group.x];
    two += partial[r * 2u * c + c + group.x];
  }
  let all = groupSum(one, local);
  let both = groupSum(two, local);
  if (local == 0u) { first[group.x] = all; second[group.x] = both; }
}`,
    tensors: [partial, a, b],
    shared: [sizesBuffer(device, [rows, c])],
    groups: [c],
  });
  device.dispose(partial);
  return [a, b];
}
