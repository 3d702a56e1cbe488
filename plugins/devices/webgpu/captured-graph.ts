import type { CapturedGraph, Tensors } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { bindableOf } from './dispatch.js';
import type { Slab, TensorEntry } from './internals.js';
import { bindingOf, copy } from './slabs.js';
import { tensorUsage } from './storage.js';

/** What a shader is bound to: a buffer of the graph, or wherever a weight lies. */
export type Bound = GPUBufferBinding | { readonly weight: string };

export interface GraphDispatch {
  readonly pipeline: GPUComputePipeline;
  readonly bindings: readonly Bound[];
  readonly groups: readonly [number, number?, number?];
}

/** Where a tensor lies that is copied in or out. */
export interface Door {
  readonly buffer: GPUBuffer;
  readonly size: number;
  readonly shape: readonly number[];
  readonly dtype: string;
  /** Whether it is stored in half precision. */
  readonly half: boolean;
}

/** A gradient, and how many dispatches there are before it is copied. */
export interface Way extends Door {
  readonly after: number;
  /** Where it lies in the gradients' slab, if it does: its buffer is that one then. */
  readonly offset: number | null;
}

/** Dispatches of a forward pass and of its way back, in one list; how many are the former's. */
export interface GraphPlan {
  readonly dispatches: readonly GraphDispatch[];
  readonly forward: number;
  readonly inputs: readonly Door[];
  readonly result: Door;
  readonly dy: Door;
  readonly gradients: readonly Way[];
  /** Where many small gradients lie, which are copied at once, and in bytes how long it is. */
  readonly slab: { readonly buffer: GPUBuffer; readonly length: number } | null;
  /** Memory that it shares with other graphs, constants from the pool, and buffers that are its own. */
  readonly shared: readonly GPUBuffer[];
  readonly constants: readonly GPUBuffer[];
  readonly own: readonly GPUBuffer[];
}

/** Buffers that graphs share, of which one is under way at a time. */
export class GraphMemory {
  private readonly users = new Map<GPUBuffer, number>();

  constructor(private readonly device: WebGPUDevice) {}

  get buffers(): GPUBuffer[] {
    return [...this.users.keys()];
  }

  get bytes(): number {
    return this.buffers.reduce((sum, { size }) => sum + size, 0);
  }

  make(size: number): GPUBuffer {
    return this.device.backend.device.createBuffer({ label: `memory of a graph, ${size} bytes`, size, usage: tensorUsage() });
  }

  /** One more graph uses these. */
  take(buffers: readonly GPUBuffer[]): void {
    for (const buffer of buffers) this.users.set(buffer, (this.users.get(buffer) ?? 0) + 1);
  }

  /** One graph uses them no more. */
  release(buffers: readonly GPUBuffer[]): void {
    for (const buffer of buffers) {
      const left = (this.users.get(buffer) ?? 1) - 1;
      if (left > 0) this.users.set(buffer, left);
      else {
        this.users.delete(buffer);
        buffer.destroy();
      }
    }
  }
}

/** A weight, where it lay when it was bound, and by which dispatches. */
interface WeightInUse {
  readonly path: string;
  readonly users: number[];
  lay: GPUBufferBinding | null;
  /** What the backend knew it by, and the memory that this had. */
  id: object | null;
  entry: TensorEntry | null;
  memory: object | null;
}

/** Runs a list of dispatches on memory of its own, without TensorFlow.js. */
export class ReplayedGraph implements CapturedGraph {
  private readonly bindGroups: GPUBindGroup[] = [];
  private readonly weights = new Map<string, WeightInUse>();
  /** The gradients that are copied one by one, as they come. */
  private readonly order: readonly number[];
  private readonly inSlab: readonly number[];

  constructor(
    private readonly device: WebGPUDevice,
    private readonly memory: GraphMemory,
    private readonly plan: GraphPlan,
  ) {
    memory.take(plan.shared);
    const { gradients } = plan;
    const all = [...gradients.keys()];
    this.order = all.filter((k) => gradients[k].offset === null).sort((a, b) => gradients[a].after - gradients[b].after);
    this.inSlab = all.filter((k) => gradients[k].offset !== null);
    for (const [k, { bindings }] of plan.dispatches.entries()) {
      const paths = bindings.flatMap((bound) => ('weight' in bound ? [bound.weight] : []));
      for (const path of new Set(paths)) {
        let weight = this.weights.get(path);
        if (!weight) this.weights.set(path, (weight = { path, users: [], lay: null, id: null, entry: null, memory: null }));
        weight.users.push(k);
      }
      if (paths.length === 0) this.bind(k);
    }
  }

  forward(inputs: readonly Tensor[], weights: Tensors): Tensor | null {
    const { plan } = this;
    if (!inputs.every((input, i) => this.fits(input, plan.inputs[i])) || !this.follow(weights)) return null;
    for (const [i, input] of inputs.entries()) this.bringIn(input, plan.inputs[i]);
    this.play(0, plan.forward);
    return this.bringOut(plan.result);
  }

  backward(dy: Tensor, weights: Tensors): Tensor[] | null {
    const { plan } = this;
    if (!this.fits(dy, plan.dy) || !this.follow(weights)) return null;
    this.bringIn(dy, plan.dy);
    const gradients: Tensor[] = [];
    let at = plan.forward;
    for (const k of this.order) {
      const gradient = plan.gradients[k];
      this.play(at, gradient.after);
      at = Math.max(at, gradient.after);
      gradients[k] = this.bringOut(gradient);
    }
    this.play(at, plan.dispatches.length);
    this.bringOutSlab(gradients);
    return gradients;
  }

  dispose(): void {
    const { device, memory, plan } = this;
    device.backend.uniformPendingDisposal.push(...plan.constants);
    // Nothing that is destroyed may be in what is still to be sent.
    device.submit();
    memory.release(plan.shared);
    for (const buffer of plan.own) buffer.destroy();
  }

  /** Whether a tensor is kept as the one was that it stands for. */
  private fits(tensor: Tensor, door: Door): boolean {
    const { dtype, half = false } = this.device.entryOf(tensor);
    return dtype === door.dtype && half === door.half;
  }

  private bringIn(tensor: Tensor, { buffer, size }: Door): void {
    copy(this.device, this.used(tensor), buffer, 0, size);
  }

  private bringOut({ buffer, size, shape, half }: Door): Tensor {
    const { device } = this;
    const tensor = device.trackedTensor(shape, half);
    device.encoder().copyBufferToBuffer(buffer, 0, device.makeWritable(tensor).resource as GPUBuffer, 0, size);
    return tensor;
  }

  /** Gives out the gradients of the slab: a copy of it, in which they lie. */
  private bringOutSlab(gradients: Tensor[]): void {
    const { device, plan, inSlab } = this;
    if (!plan.slab) return;
    const { buffer: from, length } = plan.slab;
    const buffer = device.buffers.acquireBuffer(length, tensorUsage());
    device.encoder().copyBufferToBuffer(from, 0, buffer, 0, length);
    const slab: Slab = { buffer, pooled: true, live: inSlab.length };
    for (const k of inSlab) {
      const { shape, offset, size } = plan.gradients[k];
      const tensor = device.trackedTensor(shape);
      Object.assign(device.entryOf(tensor), { resource: buffer, place: { slab, buffer, offset, size } });
      gradients[k] = tensor;
    }
  }

  /** Has a tensor on the device, until what is recorded has been sent. */
  private used({ dataId }: Tensor): TensorEntry {
    const { backend } = this.device;
    backend.uploadToGPU(dataId);
    backend.commandQueueOwnedIds.add(dataId);
    return backend.tensorMap.get(dataId);
  }

  /** Binds weights that have moved: others in their place, or the same in a slab. Whether all are as long as they were: shaders know what is in them. */
  private follow(weights: Tensors): boolean {
    const { commandQueueOwnedIds: owned } = this.device.backend;
    const moved = new Set<number>();
    let fits = true;
    for (const weight of this.weights.values()) {
      const { dataId } = weights[weight.path];
      const { lay, entry: known } = weight;
      // There are hundreds, and nearly always they lie where they lay.
      if (known && weight.id === dataId && known.resource && (known.place ?? known.resource) === weight.memory) {
        owned.add(dataId);
        continue;
      }
      const entry = this.used(weights[weight.path]);
      const { buffer, offset = 0, size = buffer.size } = bindingOf(entry);
      if (lay && lay.size !== size) {
        fits = false;
        continue;
      }
      weight.id = dataId;
      weight.entry = entry;
      weight.memory = entry.place ?? buffer;
      if (lay?.buffer !== buffer || lay.offset !== offset) {
        weight.lay = { buffer, offset, size };
        for (const user of weight.users) moved.add(user);
      }
    }
    for (const k of moved) this.bind(k);
    return fits;
  }

  private bind(k: number): void {
    const { pipeline, bindings } = this.plan.dispatches[k];
    this.bindGroups[k] = this.device.backend.device.createBindGroup({
      label: pipeline.label,
      layout: bindableOf(this.device, pipeline).layout,
      entries: bindings.map((bound, binding) => ({
        binding,
        resource: 'weight' in bound ? (this.weights.get(bound.weight)?.lay as GPUBufferBinding) : bound,
      })),
    });
  }

  private play(from: number, to: number): void {
    const { device, bindGroups, plan } = this;
    const { backend } = device;
    let [pass, current]: [GPUComputePassEncoder | null, GPUComputePipeline | null] = [null, null];
    for (let k = from; k < to; k++) {
      const { pipeline, groups } = plan.dispatches[k];
      if (!pass || !backend.computePassEncoder) {
        backend.ensureCommandEncoderReady();
        pass = backend.computePassEncoder ??= (backend.commandEncoder as GPUCommandEncoder).beginComputePass();
        current = null;
      }
      if (pipeline !== current) pass.setPipeline((current = pipeline));
      pass.setBindGroup(0, bindGroups[k]);
      pass.dispatchWorkgroups(groups[0], groups[1] ?? 1, groups[2] ?? 1);
      device.countDispatch();
    }
  }
}
