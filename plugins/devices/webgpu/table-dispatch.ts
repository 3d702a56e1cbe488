import type { Tensor } from '../../../core/tf.js';
import type { Arrays, Program } from '../compute/program.js';
import type { WebGPUDevice } from './device.js';
import { dispatch, grid } from './dispatch.js';
import type { Place } from './internals.js';

/** Tables there have been, of all lists: each has a name of its own. */
let tables = 0;

/** Layouts that are kept before all are forgotten: lists that no longer come would pile up. */
const KEPT = 64;

/** A shader over a list of groups of arrays, as the writer of its body sees it. */
export interface TableShader {
  /** Whether four numbers are loaded at a time: all places and sizes are in such units then. */
  readonly wide: boolean;
  /** The element `i` of an array, in the workgroup's tensor. */
  readonly element: (array: string) => string;
}

/** What a list's dispatches have in common. */
export interface TableWork {
  /** With the program's name, names the shader. */
  readonly what: string;
  /** Elements, or groups of four, that a workgroup has of one tensor. */
  readonly chunk: (wide: boolean) => number;
  /** Bound before the arrays: `name: type` of what the shader has beside them, in the order of the `tensors`. */
  readonly first: readonly string[];
  readonly tensors: readonly Tensor[];
  /** One number more in a workgroup's row of the table, `extra`: by the group's place in the list and the chunk within it. */
  readonly extra?: (k: number, chunk: number) => number;
  /** Declarations, and statements of a workgroup of 256: `start` and `end` are its elements, `local` its thread. */
  readonly declarations?: string;
  readonly body: (shader: TableShader) => string;
}

/** One dispatch over some groups of a list, for as long as they lie as they lay. */
interface TableDispatch {
  /** Places in the list. */
  readonly at: readonly number[];
  /** Arrays that are bound one by one: they are only read. */
  readonly apart: readonly string[];
  /** For each slab, an array that lies in it. */
  readonly slabs: readonly string[];
  readonly table: { readonly key: string; readonly rows: Uint32Array<ArrayBuffer> };
  readonly name: string;
  readonly code: () => string;
  readonly groups: readonly [number, number];
}

/** The dispatches of a list, and what they depend on. */
interface Layout {
  readonly work: string;
  readonly signature: readonly number[];
  readonly dispatches: readonly TableDispatch[];
}

/**
 * Passes over lists of many tensors by few dispatches: a table tells each workgroup which tensor it has, from where to where. What lies in a slab is reached
 * through one binding for all, so that the bindings that a shader may have go to the others; where there are no others, one dispatch takes all.
 */
export class TableDispatches {
  private readonly layouts = new Map<number, Layout>();

  constructor(private readonly device: WebGPUDevice) {}

  run(program: Program, list: readonly Arrays[], work: TableWork): void {
    const { device } = this;
    for (const { at, apart, slabs, table, name, code, groups } of this.layoutOf(program, list, work).dispatches) {
      const tensors = [...work.tensors];
      for (const k of at) for (const array of apart) tensors.push(list[k][array]);
      const rows = device.constantBuffer(table.key, () => device.filledBuffer(table.rows));
      const buffers = slabs.map((array) => (device.entryOf(list[at[0]][array]).place as Place).buffer);
      dispatch(device, { name, named: true, code, tensors, shared: [rows, ...buffers], groups });
    }
  }

  /** What was dealt out for a list like this one, whichever tensors are in it. */
  private layoutOf(program: Program, list: readonly Arrays[], work: TableWork): Layout {
    const { layouts } = this;
    const name = `${work.what} ${program.name}`;
    const signature = signatureOf(this.device, program, list);
    let hash = signature.length;
    for (const number of signature) hash = Math.imul(hash, 0x01000193) ^ number;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash, 0x01000193) ^ name.charCodeAt(i);
    const known = layouts.get(hash);
    if (known?.work === name && isSame(known.signature, signature)) return known;
    if (layouts.size >= KEPT) layouts.clear();
    const dispatches = alike(this.device, program, list).flatMap((kind) => this.split(program, list, work, kind));
    const layout: Layout = { work: name, signature, dispatches };
    layouts.set(hash, layout);
    return layout;
  }

  /** Groups of one kind by as many as a shader can bind. */
  private split(program: Program, list: readonly Arrays[], work: TableWork, { slabs, wide, at: all }: Kind): TableDispatch[] {
    const { device } = this;
    const apart = program.arrays.filter((name) => !slabs.has(name));
    const names = [...slabs.keys()];
    const buffers = [...new Set(slabs.values())];
    const slots = names.map((name) => buffers.indexOf(slabs.get(name) as GPUBuffer));
    const most = device.backend.device.limits.maxStorageBuffersPerShaderStage - 1 - work.first.length - buffers.length;
    const atOnce = apart.length > 0 ? Math.max(1, Math.floor(most / apart.length)) : all.length;
    const unit = wide ? 4 : 1;
    const chunk = work.chunk(wide);
    const dispatches: TableDispatch[] = [];
    for (let from = 0; from < all.length; from += atOnce) {
      const at = all.slice(from, from + atOnce);
      // For each workgroup: which tensor, from where to where in it, what else it is told, and where its arrays start in their slabs.
      const rows: number[] = [];
      let groups = 0;
      for (const [j, k] of at.entries()) {
        const size = list[k][program.arrays[0]].size / unit;
        const starts = names.map((name) => (device.entryOf(list[k][name]).place as Place).offset / (4 * unit));
        for (let start = 0; start < size; start += chunk) {
          rows.push(j, start, Math.min(size, start + chunk), work.extra?.(k, start / chunk) ?? 0, ...starts);
          groups++;
        }
      }
      const count = apart.length > 0 ? at.length : 0;
      dispatches.push({
        at,
        apart,
        slabs: buffers.map((_, slot) => names[slots.indexOf(slot)]),
        table: { key: `table ${++tables}`, rows: Uint32Array.from(rows) },
        name: `${work.what} ${program.name} in slabs ${count} ${wide} ${slots} ${names} ${apart}`,
        code: () => shader(program, work, { slabs: names, slots, apart, count, wide }),
        groups: grid(groups),
      });
    }
    return dispatches;
  }
}

const isSame = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((number, i) => number === b[i]);

/** For each array its size, and where it lies in which slab: slabs are numbered as they come. */
function signatureOf(device: WebGPUDevice, program: Program, list: readonly Arrays[]): number[] {
  const slabs: GPUBuffer[] = [];
  const signature: number[] = [];
  for (const group of list)
    for (const name of program.arrays) {
      const { place } = device.entryOf(group[name]);
      let slab = -1;
      if (place) {
        slab = slabs.indexOf(place.buffer);
        if (slab < 0) slab = slabs.push(place.buffer) - 1;
      }
      signature.push(group[name].size, slab, place?.offset ?? 0);
    }
  return signature;
}

/** Groups that one shader can have: what lies in the same slabs and is as wide. */
interface Kind {
  /** By the array that lies there. */
  readonly slabs: ReadonlyMap<string, GPUBuffer>;
  /** Whether four numbers are loaded at a time. */
  readonly wide: boolean;
  /** Places in the list. */
  readonly at: number[];
}

function alike(device: WebGPUDevice, program: Program, list: readonly Arrays[]): Kind[] {
  const kinds = new Map<string, Kind>();
  for (const [k, group] of list.entries()) {
    const wide = group[program.arrays[0]].size % 4 === 0;
    const slabs = new Map<string, GPUBuffer>();
    let key = `${wide}`;
    for (const name of program.arrays) {
      const { place } = device.entryOf(group[name]);
      if (place) slabs.set(name, place.buffer);
      key += `,${place ? device.buffers.numberOf(place.buffer) : ''}`;
    }
    const kind = kinds.get(key);
    if (kind) kind.at.push(k);
    else kinds.set(key, { slabs, wide, at: [k] });
  }
  return [...kinds.values()];
}

/** The shader of a dispatch. */
function shader(
  program: Program,
  work: TableWork,
  o: {
    /** Arrays that lie in slabs, and which slab each lies in. */
    slabs: readonly string[];
    slots: readonly number[];
    /** Arrays that are bound one by one, for `count` tensors. */
    apart: readonly string[];
    count: number;
    wide: boolean;
  },
): string {
  const number = o.wide ? 'vec4f' : 'f32';
  const lines = work.first.map((one) => `${one};`);
  for (let k = 0; k < o.count; k++) for (const name of o.apart) lines.push(`var<storage, read> ${name}${k}: array<${number}>;`);
  lines.push('var<storage, read> table: array<u32>;');
  for (let slot = 0; slot <= Math.max(-1, ...o.slots); slot++) {
    const written = o.slabs.some((name, i) => o.slots[i] === slot && program.writes.includes(name));
    lines.push(`var<storage, ${written ? 'read_write' : 'read'}> slab${slot}: array<${number}>;`);
  }
  const element = (name: string) => {
    const at = o.slabs.indexOf(name);
    return at < 0 ? `${name}At(k, i)` : `slab${o.slots[at]}[${name}Start + i]`;
  };
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
${work.declarations ?? ''}
@compute @workgroup_size(256) fn main(
  @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) across: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (group.x + group.y * across.x) * ${4 + o.slabs.length}u;
  if (at >= arrayLength(&table)) { return; }
  let k = table[at];
  let start = table[at + 1u];
  let end = table[at + 2u];
  let extra = table[at + 3u];
${o.slabs.map((name, i) => `  let ${name}Start = table[at + ${4 + i}u];`).join('\n')}
  ${work.body({ wide: o.wide, element })}
}`;
}
