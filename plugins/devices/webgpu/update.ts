import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { DeviceOperations } from '../compute/contract.js';
import type { Arrays, Program } from '../compute/program.js';
import type { WebGPUDevice } from './device.js';
import { dispatch, grid } from './dispatch.js';
import { gathered } from './factors.js';
import { bindings, isWide, statements } from './program.js';
import { isPackable, SlabUpdates } from './slab-update.js';

/** Runs programs in place over lists of groups of arrays. Variables keep their buffers: nothing is copied, and nothing read back. */
export function updater(device: WebGPUDevice): DeviceOperations['update'] {
  const inSlabs = new SlabUpdates(device);
  const { maxStorageBuffersPerShaderStage: most } = device.backend.device.limits;
  return (program, list, factors, finite) => {
    const atOnce = Math.floor((most - 1) / program.arrays.length);
    tf.tidy(() => {
      const buffer = gathered(device, [...program.factors.map((name) => factors[name]), finite]);
      const small = list.filter((group) => isPackable(device, program, group));
      const rest = small.length > atOnce ? list.filter((group) => !small.includes(group)) : list;
      if (small.length > atOnce) inSlabs.run(program, small, buffer);
      for (let at = 0; at < rest.length; at += atOnce) updateTogether(device, program, rest.slice(at, at + atOnce), buffer);
    });
  };
}

/** In place: one shader for as many groups of arrays as it can bind. */
function updateTogether(device: WebGPUDevice, program: Program, part: readonly Arrays[], factors: Tensor): void {
  const elements = part.map((group) => group[program.arrays[0]].size);
  const wide = isWide(elements);
  const sizes = elements.map((size) => (wide ? size / 4 : size));
  const groups = grid(Math.ceil(Math.max(...sizes) / 256));
  const finite = program.factors.length;
  dispatch(device, {
    name: program.name,
    code: () => `${bindings(program, part.length, ['var<storage, read> factors: array<f32>;'], wide)}
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) gid: vec3u) {
  if (factors[${finite}] == 0f) { return; }
  let i = gid.x + gid.y * ${groups[0] * 256}u;
${part
  .map((_, k) => {
    const { lines, results } = statements(program, (name) => `${name}${k}[i]`, wide);
    return `  if (gid.z == ${k}u && i < ${sizes[k]}u) {
    ${[...lines, ...results.map(({ name, value }) => `${name}${k}[i] = ${value};`)].join('\n    ')}
  }`;
  })
  .join('\n')}
}`,
    tensors: [factors, ...part.flatMap((group) => program.arrays.map((name) => group[name]))],
    groups: [groups[0], groups[1], part.length],
  });
}
