import { NotReplayable, type Rehearsed, saidOf } from '../../../core/index.js';
import type { Tensor } from '../../../core/tf.js';
import { Effects, override } from '../compute/undo.js';
import { MOST_DISPATCHES, type WebGPUDevice } from './device.js';
import type { BackendInternals, Slab, TensorEntry, TensorMap } from './internals.js';

/** Buffers without memory, and the bytes that they would take. */
class Ledger {
  largest = 0;
  most: number;

  constructor(private held: number) {
    this.most = held;
  }

  /** One whose memory is asked for. */
  make({ label = '', size, usage }: GPUBufferDescriptor): GPUBuffer {
    this.held += size;
    this.most = Math.max(this.most, this.held);
    this.largest = Math.max(this.largest, size);
    let isThere = true;
    return emptyBuffer(label, size, usage, () => {
      if (isThere) this.held -= size;
      isThere = false;
    });
  }
}

/** TensorFlow.js looks at what a tensor's memory is an instance of. */
const emptyBuffer = (label: string, size: number, usage: number, destroy: () => void): GPUBuffer =>
  Object.create(
    GPUBuffer.prototype,
    Object.fromEntries(Object.entries({ label, size, usage, destroy }).map(([name, value]) => [name, { value, writable: true }])),
  );

/** A device that takes all calls, and does nothing. */
function emptyDevice({ limits, features }: GPUDevice, ledger: Ledger): GPUDevice {
  const ignore = (): void => undefined;
  const pass = { setPipeline: ignore, setBindGroup: ignore, dispatchWorkgroups: ignore, end: ignore };
  const encoder = { beginComputePass: () => pass, copyBufferToBuffer: ignore, finish: () => ({}) };
  const device = {
    limits,
    features,
    queue: { submit: ignore, writeBuffer: ignore },
    createBuffer: (descriptor: GPUBufferDescriptor) => ledger.make(descriptor),
    createBindGroup: () => ({}),
    createShaderModule: () => ({}),
    createComputePipeline: ({ label }: GPUComputePipelineDescriptor) => ({ label, getBindGroupLayout: () => ({}) }),
    createCommandEncoder: () => encoder,
  };
  return device as unknown as GPUDevice;
}

/** What the backend knows of tensors, with all that is changed or made kept apart: buffers stand for the real ones. */
class TensorsApart implements TensorMap {
  private readonly known = new Map<object, TensorEntry>();
  private readonly made = new Set<object>();
  private readonly buffers = new Map<GPUBuffer, GPUBuffer>();
  private readonly slabs = new Map<Slab, Slab>();

  constructor(private readonly real: TensorMap) {}

  get(id: object): TensorEntry {
    let entry = this.known.get(id);
    if (!entry) {
      entry = this.apart(this.real.get(id));
      this.known.set(id, entry);
    }
    return entry;
  }

  set(id: object, entry: TensorEntry): void {
    this.known.set(id, entry);
    this.made.add(id);
  }

  has(id: object): boolean {
    return this.known.has(id) || this.real.has(id);
  }

  delete(id: object): boolean {
    this.made.delete(id);
    return this.known.delete(id);
  }

  numDataIds(): number {
    return this.real.numDataIds() + this.made.size;
  }

  /** Hands over what was made of the host's numbers and is kept (constants of a model, say). */
  handOver(): void {
    for (const id of this.made) {
      const entry = this.known.get(id) as TensorEntry;
      if (!entry.values) throw new NotReplayable('a tensor that is computed in it is kept');
      this.real.set(id, { ...entry, resource: null });
    }
  }

  private apart({ resource, place, ...entry }: TensorEntry): TensorEntry {
    return {
      ...entry,
      ...(resource ? { resource: this.standIn(resource) } : {}),
      ...(place ? { place: { ...place, buffer: this.standIn(place.buffer), slab: this.slabApart(place.slab) } } : {}),
    };
  }

  private slabApart(slab: Slab): Slab {
    let apart = this.slabs.get(slab);
    if (!apart) this.slabs.set(slab, (apart = { ...slab, buffer: this.standIn(slab.buffer) }));
    return apart;
  }

  private standIn(buffer: GPUBuffer): GPUBuffer {
    let other = this.buffers.get(buffer);
    if (!other) this.buffers.set(buffer, (other = emptyBuffer(buffer.label, buffer.size, buffer.usage, () => undefined)));
    return other;
  }
}

/**
 * Runs `work` against a device that does nothing: TensorFlow.js, our kernels, the pool and captured graphs go through all that they would ask for, while no
 * shader is made, nothing is computed and no memory is taken. What stood in tensors before does so afterwards. Throws NotReplayable where values are waited for.
 */
export function rehearse(device: WebGPUDevice, work: () => void, leaving: readonly Tensor[]): Rehearsed {
  const { backend, buffers } = device;
  // What is recorded is no part of it.
  device.submit();
  const gone = leaving.reduce((sum, tensor) => sum + (device.entryOf(tensor).resource?.size ?? 0), 0);
  const ledger = new Ledger(buffers.numBytesUsed - gone);
  const gpu = emptyDevice(backend.device, ledger);
  const tensors = new TensorsApart(backend.tensorMap);
  for (const { dataId } of leaving) tensors.get(dataId).resource ??= emptyBuffer('leaving', 0, 0, () => undefined);
  const { uploadToGPU } = backend;
  const refuse = (): never => {
    throw new NotReplayable(saidOf('waits for values of a tensor'));
  };
  const effects = new Effects();
  effects.add(
    override<WebGPUDevice>(device, {
      buffers: buffers.likewise(gpu),
      pipelines: new Map(),
      constants: new Map(),
      // As in the middle of a run: until it is sent, what is recorded holds memory.
      dispatchesAtOnce: MOST_DISPATCHES,
    }),
  );
  effects.add(
    override<BackendInternals>(backend, {
      device: gpu,
      queue: gpu.queue,
      bufferManager: device.buffers,
      tensorMap: tensors,
      pipelineCache: {},
      commandEncoder: null,
      computePassEncoder: null,
      dispatchCountInPass: 0,
      commandQueueOwnedIds: new WeakSet(),
      tensorDataPendingDisposal: [],
      uniformPendingDisposal: [],
      stagingPendingDisposal: [],
      uploadToGPU(id) {
        const entry = tensors.get(id);
        const { values } = entry;
        uploadToGPU.call(backend, id);
        entry.values = values;
      },
      read: async (id) => tensors.get(id).values ?? new Promise<never>(() => undefined),
      readSync: (id) => tensors.get(id).values ?? refuse(),
      readToGPU: refuse,
    }),
  );
  try {
    work();
    device.submit();
    tensors.handOver();
  } finally {
    effects.undo();
  }
  return { bytes: ledger.most, largest: ledger.largest };
}
