import { NotReplayable, saidOf } from '../../../core/index.js';
import type { CompiledAhead } from './compiled-ahead.js';
import type { Capture, SliceSum, Uncompiled, WebGPUDevice } from './device.js';
import type { TensorEntry } from './internals.js';
import type { Span } from './memory-plan.js';
import { numbersOf } from './slabs.js';
import { tensorUsage } from './storage.js';

/** Stands for a tensor's buffer while nothing is computed. Moments count from 0, when the inputs are there. */
export class VirtualBuffer implements Span {
  first = Number.POSITIVE_INFINITY;
  last = Number.NEGATIVE_INFINITY;

  constructor(readonly size: number) {}
}

export const isVirtual = (bound: object): bound is VirtualBuffer => bound instanceof VirtualBuffer;

/** A dispatch as it was asked for, and when. */
interface Asked {
  readonly pipeline: GPUComputePipeline | Uncompiled;
  readonly bindings: readonly GPUBufferBinding[];
  readonly groups: readonly [number, number?, number?];
  readonly moment: number;
  readonly adds: SliceSum | undefined;
}

/** What a computation asks of the device while it is captured. TensorFlow.js takes virtual buffers for real ones. */
export class CaptureInProgress implements Capture {
  readonly dispatches: Asked[] = [];
  readonly virtual: VirtualBuffer[] = [];
  /** Uniforms and tables, from the pool. */
  readonly constants = new Map<string, GPUBuffer>();
  /** Buffers of tensors that were made of the host's values. */
  readonly filled = new Set<GPUBuffer>();
  /** Moments count from 0. */
  moment = 0;
  private why = '';

  constructor(readonly shaders: CompiledAhead) {}

  /** Another moment has come. */
  next(): void {
    this.moment++;
  }

  /** A buffer is used at this moment. */
  use(buffer: GPUBuffer | VirtualBuffer): void {
    if (!isVirtual(buffer)) return;
    buffer.first = Math.min(buffer.first, this.moment);
    buffer.last = this.moment;
  }

  add(
    pipeline: GPUComputePipeline | Uncompiled,
    bindings: readonly GPUBufferBinding[],
    groups: readonly [number, number?, number?],
    adds?: SliceSum,
  ): void {
    this.next();
    for (const { buffer } of bindings) this.use(buffer);
    this.dispatches.push({ pipeline, bindings, groups, moment: this.moment, adds });
  }

  virtualBuffer(size: number): GPUBuffer {
    const buffer = new VirtualBuffer(size);
    this.virtual.push(buffer);
    return buffer as object as GPUBuffer;
  }

  /** A buffer with the values of a tensor, which TensorFlow.js cannot give back to the pool. */
  filledBuffer({ backend: { device, queue } }: WebGPUDevice, entry: TensorEntry): GPUBuffer {
    const values = numbersOf(entry);
    const buffer = device.createBuffer({ label: 'a constant of a graph', size: values.byteLength, usage: tensorUsage() });
    queue.writeBuffer(buffer, 0, values);
    this.filled.add(buffer);
    return buffer;
  }

  /** Gives the capture up, for what is done. */
  refuse(does: string): never {
    this.refuseLater(does);
    throw new NotReplayable(this.why);
  }

  /** The same for where nobody may be thrown at: within a kernel, whose caller would not free what it has saved. */
  refuseLater(does: string): void {
    this.why ||= saidOf(does);
  }

  /** Throws if it was given up: now is the time, or somebody may have caught it. */
  check(): void {
    if (this.why) throw new NotReplayable(this.why);
  }
}
