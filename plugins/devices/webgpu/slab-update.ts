import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { Arrays, Program } from '../compute/program.js';
import type { WebGPUDevice } from './device.js';
import { dispatch, grid } from './dispatch.js';
import type { Place, TensorEntry } from './internals.js';
import { statements } from './program.js';
import { pack } from './slabs.js';

/** Tensors above this size have a dispatch for few of them; one over slabs takes no more. */
const SMALL = 1 << 20;

/** Elements, or groups of four, that a workgroup of a dispatch over slabs updates. */
const CHUNK = 512;

/** Whether what a program writes are variables, which keep their memory from step to step, and small. */
export const isPackable = (program: Program, group: Arrays): boolean =>
  program.writes.every((name) => group[name] instanceof tf.Variable && group[name].size <= SMALL);

/** One dispatch, with what stays the same from step to step. */
interface SlabDispatch {
  /** Places in the list of the tensors that it updates. */
  readonly at: readonly number[];
  /** Arrays that are bound one by one. */
  readonly apart: readonly string[];
  readonly slabs: readonly GPUBuffer[];
  readonly table: { readonly key: string; readonly rows: Uint32Array<ArrayBuffer> };
  readonly name: string;
  readonly code: () => string;
  readonly groups: readonly [number, number];
}

/** How a list is updated, for as long as its variables lie where they lay. */
interface Layout {
  /** The program's. */
  readonly name: string;
  /** Every tensor that may lie in a slab, and where it was. */
  readonly ids: readonly object[];
  readonly entries: readonly TensorEntry[];
  readonly places: readonly (Place | undefined)[];
  readonly dispatches: readonly SlabDispatch[];
}

/**
 * Updates in place of many small tensors: those that are written lie in a slab for each array, so that the bindings a shader may have
 * go to the others alone (gradients), and where there are no others, one dispatch takes all.
 */
export class SlabUpdates {
  /** By the first tensor that is written. */
  private readonly layouts = new WeakMap<object, Layout>();
  private tables = 0;

  constructor(private readonly device: WebGPUDevice) {}

  run(program: Program, list: readonly Arrays[], factors: Tensor): void {
    const { device, layouts } = this;
    const first = list[0][program.writes[0]].dataId;
    let layout = layouts.get(first);
    if (!layout || layout.name !== program.name || !isCurrent(layout, program, list))
      layouts.set(first, (layout = this.arrange(program, list)));
    // What the host remembers of values is no longer true.
    for (const entry of layout.entries) if (entry.place) entry.values = null;
    for (const { at, apart, slabs, table, name, code, groups } of layout.dispatches) {
      const tensors = [factors];
      for (const k of at) for (const array of apart) tensors.push(list[k][array]);
      const rows = device.constantBuffer(table.key, () => device.filledBuffer(table.rows));
      dispatch(device, { name, named: true, code, tensors, shared: [rows, ...slabs], groups });
    }
  }

  /** Moves what is written into slabs and deals the tensors out to dispatches. */
  private arrange(program: Program, list: readonly Arrays[]): Layout {
    const { device } = this;
    for (const name of program.writes)
      pack(
        device,
        list
          .map((group) => group[name])
          .filter((tensor) => !device.entryOf(tensor).place)
          .map(({ dataId }) => dataId),
      );
    const variables = list.flatMap((group) => program.arrays.map((name) => group[name]).filter((tensor) => tensor instanceof tf.Variable));
    const entries = variables.map((tensor) => device.entryOf(tensor));
    return {
      name: program.name,
      ids: variables.map(({ dataId }) => dataId),
      entries,
      places: entries.map(({ place }) => place),
      dispatches: alike(device, program, list).flatMap((kind) => this.split(program, list, kind)),
    };
  }

  /** Tensors of one kind by as many as a shader can bind. */
  private split(program: Program, list: readonly Arrays[], { slabs, wide, at: all }: SlabKind): SlabDispatch[] {
    const { device } = this;
    const apart = program.arrays.filter((name) => !slabs.has(name));
    const buffers = [...new Set(slabs.values())];
    const most = device.backend.device.limits.maxStorageBuffersPerShaderStage - 2 - buffers.length;
    const atOnce = apart.length > 0 ? Math.floor(most / apart.length) : all.length;
    const names = [...slabs.keys()];
    const slots = names.map((name) => buffers.indexOf(slabs.get(name) as GPUBuffer));
    const unit = wide ? 4 : 1;
    const dispatches: SlabDispatch[] = [];
    for (let from = 0; from < all.length; from += atOnce) {
      const at = all.slice(from, from + atOnce);
      // For each workgroup: which tensor, from where to where in it, and where its arrays start in their slabs.
      const rows: number[] = [];
      for (const [j, k] of at.entries()) {
        const size = list[k][program.arrays[0]].size / unit;
        const starts = names.map((name) => (device.entryOf(list[k][name]).place as Place).offset / (4 * unit));
        for (let start = 0; start < size; start += CHUNK) rows.push(j, start, Math.min(size, start + CHUNK), ...starts);
      }
      const groups = grid(rows.length / (3 + names.length));
      const count = apart.length > 0 ? at.length : 0;
      dispatches.push({
        at,
        apart,
        slabs: buffers,
        table: { key: `table ${++this.tables}`, rows: Uint32Array.from(rows) },
        name: `${program.name} in slabs ${count} ${wide} ${slots} ${apart} ${groups[0]}`,
        code: () => shader(program, { slabs: names, slots, apart, count, wide, across: groups[0], finite: program.factors.length }),
        groups,
      });
    }
    return dispatches;
  }
}

/** Whether all variables lie where they lay, whichever program put them there. A gradient never lies in a slab. */
function isCurrent({ ids, entries, places }: Layout, program: Program, list: readonly Arrays[]): boolean {
  let i = 0;
  for (const group of list)
    for (const name of program.arrays) {
      const tensor = group[name];
      if (!(tensor instanceof tf.Variable)) continue;
      if (tensor.dataId !== ids[i] || entries[i].place !== places[i]) return false;
      i++;
    }
  return i === ids.length;
}

/** Tensors that one shader can update: what lies in the same slabs and is as wide. */
interface SlabKind {
  /** By the array that lies there. */
  readonly slabs: ReadonlyMap<string, GPUBuffer>;
  /** Whether four numbers are loaded at a time. */
  readonly wide: boolean;
  /** Places in the list. */
  readonly at: number[];
}

function alike(device: WebGPUDevice, program: Program, list: readonly Arrays[]): SlabKind[] {
  const kinds = new Map<string, SlabKind>();
  for (const [k, group] of list.entries()) {
    const wide = group[program.arrays[0]].size % 4 === 0;
    const slabs = new Map<string, GPUBuffer>();
    let key = `${wide}`;
    for (const name of program.arrays) {
      const place = group[name] instanceof tf.Variable ? device.entryOf(group[name]).place : undefined;
      if (place) slabs.set(name, place.buffer);
      key += `,${place ? device.buffers.numberOf(place.buffer) : ''}`;
    }
    const kind = kinds.get(key);
    if (kind) kind.at.push(k);
    else kinds.set(key, { slabs, wide, at: [k] });
  }
  return [...kinds.values()];
}

/** The shader of a dispatch over tensors in slabs. */
function shader(
  program: Program,
  o: {
    /** Arrays that lie in slabs, and which slab each lies in. */
    slabs: readonly string[];
    slots: readonly number[];
    /** Arrays that are bound one by one, for `count` tensors. */
    apart: readonly string[];
    count: number;
    wide: boolean;
    /** Workgroups along the dispatch's first dimension. */
    across: number;
    /** Where the factors say whether anything is to change. */
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
