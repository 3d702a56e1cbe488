import type { Tensor } from '@tensorflow/tfjs';
import { type Arrays, type Program, record } from '../compute/program.js';
import { constantBuffer, filled, type WebGPUBackendParts } from './backend.js';
import { dispatch, flat } from './dispatch.js';

/** Four numbers at a time where every array's length allows it: wide loads are what fills the memory's bandwidth. */
const isWide = (sizes: readonly number[]): boolean => sizes.every((size) => size % 4 === 0);

/** The statements that compute a program, given how an element of an array is read, and the expressions of its results. */
export function statements(
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
export function update(backend: WebGPUBackendParts, program: Program, part: readonly Arrays[], factors: Tensor): void {
  const elements = part.map((group) => group[program.arrays[0]].size);
  const wide = isWide(elements);
  const sizes = elements.map((size) => (wide ? size / 4 : size));
  const { groups } = flat(Math.max(...sizes));
  const finite = program.factors.length;
  dispatch(backend, {
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

/** Elements that one workgroup of a sum adds up. */
const PER_GROUP = 256 * 64;

/** How many partial sums a group of arrays has. */
export const sumsOf = (program: Program, group: Arrays): number => Math.ceil(group[program.arrays[0]].size / PER_GROUP);

/** Partial sums of several groups of arrays, written to `out` from `start` on, one or more for each; the caller adds them up. */
export function partialSums(
  backend: WebGPUBackendParts,
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
