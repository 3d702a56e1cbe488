import { VirtualBuffer } from './capture.js';
import type { SliceSum } from './device.js';
import { laidOut } from './slabs.js';

/** A dispatch that may be one. */
interface Asked {
  readonly bindings: readonly object[];
  readonly moment: number;
  readonly adds?: SliceSum | undefined;
}

/** Numbers that a workgroup adds up, and those of its row in the table. */
const CHUNK = 256;
const ROW = 5;

/** Sums that one dispatch makes at the end, in place of one each. */
export interface DeferredSums<A> {
  readonly asked: ReadonlySet<A>;
  /** Where their slices lie until then. */
  readonly memory: VirtualBuffer;
  readonly offsets: ReadonlyMap<VirtualBuffer, number>;
  /** For each workgroup: where slices begin, and where the sums go, in numbers; how many there are, of how many slices; and its first. */
  readonly rows: Uint32Array<ArrayBuffer>;
}

/** Those whose result lies in a slab and is needed no sooner, as many as may wait with their slices. `asked` is all that the graph dispatches. */
export function deferredSums<A extends Asked>(
  asked: readonly A[],
  slab: { readonly memory: VirtualBuffer; readonly offsets: ReadonlyMap<VirtualBuffer, number> },
): DeferredSums<A> | null {
  const uses = new Map<object, number>();
  for (const { bindings } of asked) for (const bound of new Set(bindings)) uses.set(bound, (uses.get(bound) ?? 0) + 1);
  const sums = asked.flatMap((one) => {
    const [parts, , , out] = one.bindings as VirtualBuffer[];
    const waits = one.adds && slab.offsets.has(out) && uses.get(out) === 1 && parts instanceof VirtualBuffer && parts.last === one.moment;
    return waits ? [{ one, parts, out, ...(one.adds as SliceSum) }] : [];
  });
  if (sums.length < 2) return null;
  const { offsets, length } = laidOut(sums.map(({ parts }) => parts.size));
  const taken = sums.slice(0, offsets.length);
  const memory = new VirtualBuffer(length);
  memory.first = Math.min(...taken.map(({ parts }) => parts.first));
  memory.last = slab.memory.last;
  const rows: number[] = [];
  for (const [k, { out, slices, size }] of taken.entries())
    for (let first = 0; first < size; first += CHUNK) rows.push(offsets[k] / 4, (slab.offsets.get(out) as number) / 4, size, slices, first);
  return {
    asked: new Set(taken.map(({ one }) => one)),
    memory,
    offsets: new Map(taken.map(({ parts }, k) => [parts, offsets[k]])),
    rows: Uint32Array.from(rows),
  };
}

/** Workgroups of a dispatch of these rows. */
export const groupsOf = (rows: Uint32Array): number => rows.length / ROW;

/** The shader, which is bound to the slices, the slab and the rows. Numbers are added up in the order of slices, as each sum's own dispatch does it. */
export const DEFERRED_SUMS = `@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@compute @workgroup_size(${CHUNK}) fn main(
  @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) across: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (group.x + group.y * across.x) * ${ROW}u;
  if (at >= arrayLength(&table)) { return; }
  let size = table[at + 2u];
  let i = table[at + 4u] + local;
  if (i >= size) { return; }
  var sum = 0f;
  for (var s = 0u; s < table[at + 3u]; s++) { sum += parts[table[at] + s * size + i]; }
  result[table[at + 1u] + i] = sum;
}`;
