import type { Scalar, Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { FUSED, registerLists } from './names.js';
import { type Arrays, type Program, record } from './program.js';
import { adamw8bitCode, adamw8bitTables, BLOCKS_PER_GROUP } from './webgpu-adamw8bit.js';
import { constantBuffer, type Place, pack, type TensorData, type WebGPUBackendParts } from './webgpu-backend.js';
import { numberOf } from './webgpu-buffers.js';
import { buffers, dispatch, flat } from './webgpu-dispatch.js';

const current = (): WebGPUBackendParts => tf.backend() as unknown as WebGPUBackendParts;

/** Numbers and scalars of a call in one buffer. Inside a tidy. */
function gathered(values: readonly (number | Scalar)[]): Tensor {
  const scalars = values.filter((value) => typeof value !== 'number') as Scalar[];
  const numbers = () => tf.tensor1d(values.map((value) => (typeof value === 'number' ? value : 0)));
  if (scalars.length === 0) return numbers();
  // A shader may bind only what it reads.
  const read: [string, Tensor][] = scalars.length < values.length ? [['numbers', numbers()]] : [];
  for (const [k, scalar] of scalars.entries()) read.push([`s${k}`, scalar]);
  const backend = current();
  const out = tf.engine().makeTensorFromTensorInfo(backend.makeTensorInfo([values.length], 'float32')) as Tensor;
  const which = values.map((value) => (typeof value === 'number' ? -1 : scalars.indexOf(value)));
  dispatch(backend, {
    name: `gather ${which}`,
    named: true,
    code: () => `${buffers(
      read.map(([name]) => name),
      ['to'],
    )}
@compute @workgroup_size(1) fn main() {
${which.map((k, i) => `  to[${i}] = ${k < 0 ? `numbers[${i}]` : `s${k}[0]`};`).join('\n')}
}`,
    tensors: [...read.map(([, tensor]) => tensor), out],
    groups: [1],
  });
  return out;
}

/** A storage buffer with these numbers. */
function filled(backend: WebGPUBackendParts, numbers: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): GPUBuffer {
  const buffer = backend.bufferManager.acquireBuffer(numbers.byteLength, 0x80 | 0x8);
  backend.queue.writeBuffer(buffer, 0, numbers);
  return buffer;
}

/** Elements that one workgroup of a sum adds up. */
const PER_GROUP = 256 * 64;

/** Four numbers at a time where every array's length allows it: wide loads are what fills the memory's bandwidth. */
const isWide = (sizes: readonly number[]): boolean => sizes.every((size) => size % 4 === 0);

/** The statements that compute a program, given how an element of an array is read, and the expressions of its results. */
function statements(
  program: Program,
  element: (array: string) => string,
  wide: boolean,
): { lines: string[]; results: { name: string; value: string }[] } {
  const { nodes, results } = record(program);
  const lines: string[] = [];
  const same = (scalar: string) => (wide ? `vec4f(${scalar})` : scalar);
  const spell = (value: number) => same(`${Number.isInteger(value) ? value : Math.fround(value)}f`);
  const names = nodes.map((node, i) => {
    const name = `t${i}`;
    const [a, b] = [(node as { a: number }).a, (node as { b: number }).b].map((at) => `t${at}`);
    const infix = { add: '+', sub: '-', mul: '*', div: '/' };
    const value =
      node.op === 'array'
        ? element(node.name)
        : node.op === 'factor'
          ? same(`factors[${program.factors.indexOf(node.name)}]`)
          : node.op === 'constant'
            ? spell(node.value)
            : node.op in infix
              ? `${a} ${infix[node.op as keyof typeof infix]} ${b}`
              : node.op === 'min' || node.op === 'max'
                ? `${node.op}(${a}, ${b})`
                : `${node.op}(${a})`;
    lines.push(`let ${name} = ${value};`);
    return name;
  });
  return { lines, results: results.map(({ name, node }) => ({ name, value: names[node] })) };
}

/** Bindings: factors (where there are some), then the arrays of each group; written ones are read_write. */
function bindings(program: Program, groups: number, first: readonly string[], wide: boolean): string {
  const lines = first.map((text, i) => `@group(0) @binding(${i}) ${text}`);
  for (let k = 0; k < groups; k++)
    for (const name of program.arrays) {
      const access = program.writes.includes(name) ? 'read_write' : 'read';
      lines.push(`@group(0) @binding(${lines.length}) var<storage, ${access}> ${name}${k}: array<${wide ? 'vec4f' : 'f32'}>;`);
    }
  return lines.join('\n');
}

/** In place: one shader for as many groups of arrays as it can bind. */
function update(program: Program, part: readonly Arrays[], factors: Tensor): void {
  const elements = part.map((group) => group[program.arrays[0]].size);
  const wide = isWide(elements);
  const sizes = elements.map((size) => (wide ? size / 4 : size));
  const { groups } = flat(Math.max(...sizes));
  const finite = program.factors.length;
  dispatch(current(), {
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

/** Tensors above this size have a dispatch for few of them; the shader for many takes no more. */
const SMALL = 1 << 20;

/** Elements, or groups of four, that a workgroup of the shader for many updates. */
const CHUNK = 512;

/** Whether what a program writes are variables, which keep their memory from step to step, and small. */
const isPackable = (program: Program, group: Arrays): boolean =>
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
  readonly program: Program;
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
function updateMany(program: Program, list: readonly Arrays[], factors: Tensor): void {
  const backend = current();
  const first = list[0][program.writes[0]].dataId;
  let plan = plans.get(first);
  if (!plan || plan.program.name !== program.name || !isCurrent(plan, program, list)) plans.set(first, (plan = planFor(program, list)));
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

function planFor(program: Program, list: readonly Arrays[]): Plan {
  const backend = current();
  const dataOf = (tensor: Tensor) => backend.tensorMap.get(tensor.dataId);
  for (const name of program.writes) {
    const apart = list.map((group) => group[name].dataId).filter((id) => !backend.tensorMap.get(id).place);
    if (apart.length > 0) pack(backend, apart);
  }
  // Together goes what lies in the same slabs and is as wide.
  const kinds = new Map<string, { slabs: Map<string, GPUBuffer>; wide: boolean; at: number[] }>();
  for (const [k, group] of list.entries()) {
    const wide = group[program.arrays[0]].size % 4 === 0;
    const slabs = new Map<string, GPUBuffer>();
    let key = `${wide}`;
    for (const name of program.arrays) {
      const place = dataOf(group[name]).place;
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
      const across = Math.min(workgroups, 32768);
      const count = apart.length > 0 ? at.length : 0;
      parts.push({
        at,
        apart,
        buffers,
        table: { key: `table ${++tables}`, rows: Uint32Array.from(rows) },
        name: `many ${program.name} ${count} ${wide} ${slots} ${apart} ${across}`,
        code: () => manyCode(program, { slabs: names, slots, apart, count, wide, across, finite: program.factors.length }),
        groups: [across, Math.ceil(workgroups / across)],
      });
    }
  }
  const variables = list.flatMap((group) => program.arrays.map((name) => group[name]).filter((tensor) => tensor instanceof tf.Variable));
  const data = variables.map(dataOf);
  return { program, ids: variables.map(({ dataId }) => dataId), data, places: data.map(({ place }) => place), parts };
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

/** How many partial sums a group of arrays has. */
const sumsOf = (program: Program, group: Arrays): number => Math.ceil(group[program.arrays[0]].size / PER_GROUP);

/** Partial sums of several groups of arrays, written to `out` from `start` on, one or more for each; the caller adds them up. */
function partialSums(program: Program, part: readonly Arrays[], factors: Tensor | null, out: Tensor, start: number): void {
  const backend = current();
  const elements = part.map((group) => group[program.arrays[0]].size);
  const wide = isWide(elements);
  const sizes = elements.map((size) => (wide ? size / 4 : size));
  const perGroup = wide ? PER_GROUP / 4 : PER_GROUP;
  const counts = part.map((group) => sumsOf(program, group));
  const most = Math.max(...counts);
  const first = ['var<storage, read_write> partial: array<f32>;', ...(factors ? ['var<storage, read> factors: array<f32>;'] : [])];
  dispatch(backend, {
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
    shared: [constantBuffer(backend, `start ${start}`, () => filled(backend, new Uint32Array([start])))],
    groups: [most, part.length],
  });
}

/** Kernels over lists of tensors. Variables keep their buffers: nothing is copied, and nothing read back. */
export const registerWebGPULists = (): void =>
  registerLists('webgpu', {
    [FUSED.program](program, list, factors, finite) {
      const backend = current();
      const { maxStorageBuffersPerShaderStage: most } = backend.device.limits;
      const isSum = program.writes.length === 0;
      const atOnce = Math.floor((most - (isSum ? 3 : 1)) / program.arrays.length);
      const sum = tf.tidy((): Scalar | [] => {
        const values = program.factors.map((name) => factors[name]);
        const wanted = isSum ? values : [...values, finite];
        const buffer = wanted.length > 0 ? gathered(wanted) : null;
        if (isSum) {
          const counts = list.map((group) => sumsOf(program, group));
          const partial = backend.makeTensorInfo([counts.reduce((a, b) => a + b, 0)], 'float32');
          const out = tf.engine().makeTensorFromTensorInfo(partial) as Tensor;
          let start = 0;
          for (let at = 0; at < list.length; at += atOnce) {
            partialSums(program, list.slice(at, at + atOnce), buffer, out, start);
            for (const count of counts.slice(at, at + atOnce)) start += count;
          }
          return out.sum() as Scalar;
        }
        const many = list.filter((group) => isPackable(program, group));
        const rest = many.length > atOnce ? list.filter((group) => !isPackable(program, group)) : list;
        if (many.length > atOnce) updateMany(program, many, buffer as Tensor);
        for (let at = 0; at < rest.length; at += atOnce) update(program, rest.slice(at, at + atOnce), buffer as Tensor);
        return [];
      });
      return Array.isArray(sum) ? null : sum;
    },

    [FUSED.adamw8bit](list, factors, finite, { beta1, beta2, epsilon, bound }) {
      tf.tidy(() => {
        const { learningRate, weightDecay, scale, correction1, correction2 } = factors;
        const buffer = gathered([learningRate, weightDecay, scale, finite, correction1, correction2]);
        const backend = current();
        const tables = constantBuffer(backend, 'adamw8bit tables', () => filled(backend, adamw8bitTables()));
        for (const { p, g, m, v, absmax } of list) {
          const blocks = absmax.size / 2;
          const workgroups = Math.ceil(blocks / BLOCKS_PER_GROUP);
          const across = Math.min(workgroups, 32768);
          dispatch(backend, {
            name: `adamw8bit ${p.size} ${beta1} ${beta2} ${epsilon} ${bound}`,
            code: () => adamw8bitCode({ size: p.size, blocks, across, beta1, beta2, epsilon, bound }),
            tensors: [buffer, g, p, m, v, absmax],
            integers: [m, v],
            named: true,
            shared: [tables],
            groups: [across, Math.ceil(workgroups / across)],
          });
        }
      });
    },
  });
