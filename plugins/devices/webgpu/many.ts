import type { Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { Arrays, Program } from '../compute/program.js';
import { constantBuffer, filled, type TensorData, type WebGPUBackendParts } from './backend.js';
import { numberOf } from './buffers.js';
import { dispatch, grid } from './dispatch.js';
import { statements } from './program.js';
import { type Place, pack } from './slabs.js';

/** Tensors above this size have a dispatch for few of them; the shader for many takes no more. */
const SMALL = 1 << 20;

/** Elements, or groups of four, that a workgroup of the shader for many updates. */
const CHUNK = 512;

/** Whether what a program writes are variables, which keep their memory from step to step, and small. */
export const isPackable = (program: Program, group: Arrays): boolean =>
  program.writes.every((name) => group[name] instanceof tf.Variable && group[name].size <= SMALL);

/** Tensors that one dispatch updates, with what stays the same from step to step. */
interface Part {
  /** Places in the list. */
  readonly at: readonly number[];
  /** Arrays with bindings of their own. */
  readonly apart: readonly string[];
  readonly buffers: readonly GPUBuffer[];
  readonly table: { readonly key: string; readonly rows: Uint32Array<ArrayBuffer> };
  readonly name: string;
  readonly code: () => string;
  readonly groups: readonly [number, number];
}

/** How a list is updated, for as long as its variables lie where they lay. */
interface Plan {
  /** The program's. */
  readonly name: string;
  /** Every tensor that may lie in a slab, and where it was. */
  readonly ids: readonly object[];
  readonly data: readonly TensorData[];
  readonly places: readonly (Place | undefined)[];
  readonly parts: readonly Part[];
}

const plans = new WeakMap<object, Plan>();
let tables = 0;

/**
 * In place, over many small tensors: those that are written lie in a slab for each array, so that the bindings a shader may have
 * go to the others alone (gradients), and where there are no others, one dispatch takes all.
 */
export function updateMany(backend: WebGPUBackendParts, program: Program, list: readonly Arrays[], factors: Tensor): void {
  const first = list[0][program.writes[0]].dataId;
  let plan = plans.get(first);
  if (!plan || plan.name !== program.name || !isCurrent(plan, program, list)) plans.set(first, (plan = planFor(backend, program, list)));
  // What the host remembers of values is no longer true.
  for (const data of plan.data) if (data.place) data.values = null;
  for (const { at, apart, buffers, table, name, code, groups } of plan.parts) {
    const tensors = [factors];
    for (const k of at) for (const array of apart) tensors.push(list[k][array]);
    const rows = constantBuffer(backend, table.key, () => filled(backend, table.rows));
    dispatch(backend, { name, named: true, code, tensors, shared: [rows, ...buffers], groups });
  }
}

/** Arrays of a program that may lie in slabs, whichever program put them there. A gradient never does. */
const isCurrent = ({ ids, data, places }: Plan, program: Program, list: readonly Arrays[]): boolean => {
  let i = 0;
  for (const group of list)
    for (const name of program.arrays) {
      const tensor = group[name];
      if (!(tensor instanceof tf.Variable)) continue;
      if (tensor.dataId !== ids[i] || data[i].place !== places[i]) return false;
      i++;
    }
  return i === ids.length;
};

function planFor(backend: WebGPUBackendParts, program: Program, list: readonly Arrays[]): Plan {
  const dataOf = (tensor: Tensor) => backend.tensorMap.get(tensor.dataId);
  for (const name of program.writes) {
    const apart = list.map((group) => group[name].dataId).filter((id) => !backend.tensorMap.get(id).place);
    pack(backend, apart);
  }
  // Together goes what lies in the same slabs and is as wide.
  const kinds = new Map<string, { slabs: Map<string, GPUBuffer>; wide: boolean; at: number[] }>();
  for (const [k, group] of list.entries()) {
    const wide = group[program.arrays[0]].size % 4 === 0;
    const slabs = new Map<string, GPUBuffer>();
    let key = `${wide}`;
    for (const name of program.arrays) {
      const place = group[name] instanceof tf.Variable ? dataOf(group[name]).place : undefined;
      if (place) slabs.set(name, place.buffer);
      key += `,${place ? numberOf(place.buffer) : ''}`;
    }
    const kind = kinds.get(key);
    if (kind) kind.at.push(k);
    else kinds.set(key, { slabs, wide, at: [k] });
  }
  const parts: Part[] = [];
  for (const { slabs, wide, at: alike } of kinds.values()) {
    const apart = program.arrays.filter((name) => !slabs.has(name));
    const buffers = [...new Set(slabs.values())];
    const most = backend.device.limits.maxStorageBuffersPerShaderStage - 2 - buffers.length;
    const atOnce = apart.length > 0 ? Math.floor(most / apart.length) : alike.length;
    const names = [...slabs.keys()];
    const slots = names.map((name) => buffers.indexOf(slabs.get(name) as GPUBuffer));
    const unit = wide ? 4 : 1;
    for (let from = 0; from < alike.length; from += atOnce) {
      const at = alike.slice(from, from + atOnce);
      // For each workgroup: which tensor, from where to where in it, and where its arrays start in their slabs.
      const rows: number[] = [];
      for (const [j, k] of at.entries()) {
        const size = list[k][program.arrays[0]].size / unit;
        const starts = names.map((name) => (dataOf(list[k][name]).place as Place).offset / (4 * unit));
        for (let start = 0; start < size; start += CHUNK) rows.push(j, start, Math.min(size, start + CHUNK), ...starts);
      }
      const workgroups = rows.length / (3 + names.length);
      const groups = grid(workgroups);
      const count = apart.length > 0 ? at.length : 0;
      parts.push({
        at,
        apart,
        buffers,
        table: { key: `table ${++tables}`, rows: Uint32Array.from(rows) },
        name: `many ${program.name} ${count} ${wide} ${slots} ${apart} ${groups[0]}`,
        code: () => manyCode(program, { slabs: names, slots, apart, count, wide, across: groups[0], finite: program.factors.length }),
        groups,
      });
    }
  }
  const variables = list.flatMap((group) => program.arrays.map((name) => group[name]).filter((tensor) => tensor instanceof tf.Variable));
  const data = variables.map(dataOf);
  return { name: program.name, ids: variables.map(({ dataId }) => dataId), data, places: data.map(({ place }) => place), parts };
}

function manyCode(
  program: Program,
  o: {
    /** Arrays that lie in slabs, and which slab each lies in. */
    slabs: readonly string[];
    slots: readonly number[];
    /** Arrays that have bindings of their own, for `count` tensors. */
    apart: readonly string[];
    count: number;
    wide: boolean;
    across: number;
    finite: number;
  },
): string {
  const number = o.wide ? 'vec4f' : 'f32';
  const lines = ['var<storage, read> factors: array<f32>;'];
  for (let k = 0; k < o.count; k++) for (const name of o.apart) lines.push(`var<storage, read> ${name}${k}: array<${number}>;`);
  lines.push('var<storage, read> table: array<u32>;');
  for (let slot = 0; slot <= Math.max(...o.slots); slot++) {
    const written = o.slabs.some((name, i) => o.slots[i] === slot && program.writes.includes(name));
    lines.push(`var<storage, ${written ? 'read_write' : 'read'}> slab${slot}: array<${number}>;`);
  }
  const element = (name: string) => {
    const at = o.slabs.indexOf(name);
    return at < 0 ? `${name}At(k, i)` : `slab${o.slots[at]}[${name}Start + i]`;
  };
  const { lines: body, results } = statements(program, element, o.wide);
  return `${lines.map((line, i) => `@group(0) @binding(${i}) ${line}`).join('\n')}
${o.apart
  .map(
    (name) => `fn ${name}At(k: u32, i: u32) -> ${number} {
  switch k {
${Array.from({ length: o.count - 1 }, (_, k) => `    case ${k + 1}u: { return ${name}${k + 1}[i]; }`).join('\n')}
    default: { return ${name}0[i]; }
  }
}`,
  )
  .join('\n')}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (group.x + group.y * ${o.across}u) * ${3 + o.slabs.length}u;
  if (at >= arrayLength(&table) || factors[${o.finite}] == 0f) { return; }
  let k = table[at];
  let end = table[at + 2u];
${o.slabs.map((name, i) => `  let ${name}Start = table[at + ${3 + i}u];`).join('\n')}
  for (var i = table[at + 1u] + local; i < end; i += 256u) {
    ${[...body, ...results.map(({ name, value }) => `${element(name)} = ${value};`)].join('\n    ')}
  }
}`;
}
