import type { Tensor, TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { tracked } from '../compute/tracked.js';
import type { Undo } from '../compute/undo.js';
import { hasTensorCores } from './adapter.js';
import { SteadyBuffers } from './buffers.js';
import type { BackendInternals, TensorEntry } from './internals.js';
import { halfBytes, tensorUsage } from './storage.js';

/** Dispatches recorded before they are sent. More saves calls; memory of disposed tensors comes back on sending. */
export const MOST_DISPATCHES = 96;

/** As many are the first ones after the host has waited for the device, which has nothing to do then; each time half as many more. */
const FIRST_DISPATCHES = 6;

/** Bind groups kept per pipeline, and uniforms and tables in all, before they are forgotten: shapes that no longer come would pile up. */
export const KEPT = 2048;

/** A pipeline's bind groups. */
export interface Bindable {
  readonly layout: GPUBindGroupLayout;
  /** By the numbers of their buffers. */
  readonly groups: Map<string, GPUBindGroup>;
}

/** A pipeline that a captured graph asks for and nobody has needed before: its name, and its shader. */
export interface Uncompiled {
  readonly key: string;
  readonly code: string;
}

/** What a dispatch does that adds up slices, of float32: its first binding holds so many of so many numbers each, and its fourth gets their sums. */
export interface SliceSum {
  readonly slices: number;
  readonly size: number;
}

/** Where dispatches go while a graph is captured, and the constants that belong to it. */
export interface Capture {
  readonly constants: Map<string, GPUBuffer>;
  /** Pipelines, by name. Another stands for one that is not there yet. */
  readonly shaders: { get(key: string, code: () => string): GPUComputePipeline | Uncompiled };
  virtualBuffer(size: number): GPUBuffer;
  add(
    pipeline: GPUComputePipeline | Uncompiled,
    bindings: readonly GPUBufferBinding[],
    groups: readonly [number, number?, number?],
    adds?: SliceSum,
  ): void;
}

/** What we keep beside a WebGPU backend of TensorFlow.js; `install()` makes it, kernels are given it. */
export class WebGPUDevice {
  readonly buffers: SteadyBuffers;
  /** See {@link hasTensorCores}. */
  readonly tensorCores: boolean;
  /** Uniforms and tables: see {@link constantBuffer}. */
  readonly constants = new Map<string, GPUBuffer>();
  /** By name and shapes: see {@link dispatch}. */
  readonly pipelines = new Map<string, GPUComputePipeline>();
  readonly bindables = new WeakMap<GPUComputePipeline, Bindable>();
  /** Dispatches after which what is recorded is sent. */
  dispatchesAtOnce = FIRST_DISPATCHES;
  /** What the driver reported on the side and nobody was told yet. */
  failure: GPUError | null = null;
  /** What is being captured, if anything is: nothing is recorded then. */
  capture: Capture | null = null;
  /** Takes back everything that `install()` did. */
  undo: Undo = () => {};

  constructor(
    readonly backend: BackendInternals,
    /** Whoever drives the GPU: Dawn's handle must live as long, since a device whose instance is collected is lost. */
    readonly gpu: GPU,
    readonly adapter: GPUAdapter,
  ) {
    this.buffers = new SteadyBuffers(backend.device);
    this.tensorCores = hasTensorCores(backend.device, adapter);
  }

  /** A new tensor of floats for a kernel to fill and return, or to dispose; stored in half precision if asked for (see storage.ts). */
  newTensor(shape: readonly number[], half = false): TensorInfo {
    const tensor = this.backend.makeTensorInfo([...shape], 'float32');
    if (half) {
      const entry = this.entryOf(tensor);
      const bytes = halfBytes(tf.util.sizeFromShape([...shape]));
      entry.resource = this.capture?.virtualBuffer(bytes) ?? this.buffers.acquireBuffer(bytes, tensorUsage());
      entry.half = true;
    }
    return tensor;
  }

  /** The same where no kernel returns it: TensorFlow.js keeps count of it, so that a tidy disposes it. */
  trackedTensor(shape: readonly number[], half = false): Tensor {
    return tracked(this.newTensor(shape, half));
  }

  dispose({ dataId }: TensorInfo): void {
    this.backend.disposeData(dataId);
  }

  entryOf({ dataId }: TensorInfo): TensorEntry {
    return this.backend.tensorMap.get(dataId);
  }

  /** Sends a tensor to the GPU. Its values stay beside it, for whoever looks at a batch: reading without waiting is not possible there. */
  upload(tensor: TensorInfo): void {
    const entry = this.entryOf(tensor);
    const { values } = entry;
    this.backend.uploadToGPU(tensor.dataId);
    entry.values = values;
  }

  /** Readies a tensor for a shader that may write it: its values are on the device alone, and stay until what is recorded was sent. */
  makeWritable({ dataId }: TensorInfo): TensorEntry {
    const { backend } = this;
    const entry = backend.tensorMap.get(dataId);
    if (!entry.resource) backend.uploadToGPU(dataId);
    entry.values = null;
    backend.commandQueueOwnedIds.add(dataId);
    return entry;
  }

  /** A buffer whose content follows from its key, made once. `make` acquires it from the pool and fills it. */
  constantBuffer(key: string, make: () => GPUBuffer): GPUBuffer {
    const constants = this.capture?.constants ?? this.constants;
    let buffer = constants.get(key);
    if (!buffer) {
      if (constants.size >= KEPT && !this.capture) {
        this.backend.uniformPendingDisposal.push(...constants.values());
        constants.clear();
      }
      constants.set(key, (buffer = make()));
    }
    return buffer;
  }

  /** A storage buffer from the pool with these numbers. */
  filledBuffer(numbers: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): GPUBuffer {
    const buffer = this.buffers.acquireBuffer(numbers.byteLength, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST);
    this.backend.queue.writeBuffer(buffer, 0, numbers);
    return buffer;
  }

  /** The command encoder with what is recorded so far, outside of a pass. */
  encoder(): GPUCommandEncoder {
    this.backend.ensureCommandEncoderReady();
    this.backend.endComputePassEncoder();
    return this.backend.commandEncoder as GPUCommandEncoder;
  }

  /** Sends what is recorded. */
  submit(): void {
    this.encoder();
    this.backend.submitQueue();
  }

  /** One more dispatch is recorded; sends all of them when they are enough. */
  countDispatch(): void {
    if (++this.backend.dispatchCountInPass < this.dispatchesAtOnce) return;
    this.dispatchesAtOnce = Math.min(MOST_DISPATCHES, Math.ceil(1.5 * this.dispatchesAtOnce));
    this.backend.endComputePassEncoder();
    this.backend.submitQueue();
  }

  /** To be called when the device has done all that was sent. */
  becameIdle(): void {
    this.dispatchesAtOnce = FIRST_DISPATCHES;
  }
}
