import * as tf from '@tensorflow/tfjs';
import type { TensorData, WebGPUBackendParts } from './backend.js';

/** One buffer in which many small tensors lie; it goes back when the last of them does. */
interface Slab {
  readonly buffer: GPUBuffer;
  live: number;
}

/** Where a tensor lies in a slab, in bytes: it is its binding, too. */
export interface Place extends GPUBufferBinding {
  readonly slab: Slab;
  readonly offset: number;
  readonly size: number;
}

/** What TensorFlow.js asks for tensors' memory. The names are there once a GPU was found. */
export const tensorUsage = (): number => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** What binds a tensor whose values are on the device. */
export const bindingOf = ({ resource, place }: TensorData): GPUBufferBinding => place ?? { buffer: resource as GPUBuffer };

/** Records a copy of a tensor's memory, in order with what is recorded. */
export function copy(backend: WebGPUBackendParts, from: TensorData, to: GPUBuffer, offset: number, size: number): void {
  const { buffer, offset: start = 0 } = bindingOf(from);
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  (backend.commandEncoder as GPUCommandEncoder).copyBufferToBuffer(buffer, start, to, offset, size);
}

/** Where a binding may begin is a multiple of this on every device. */
const ALIGNMENT = 256;

/** A slab is no longer: what every device can bind, and little enough to come back soon. */
const SLAB_BYTES = 2 ** 26;

/**
 * Moves float tensors into new slabs, so that one shader reaches many of them through one binding. No shader may then read one
 * of a slab and write another through bindings of their own.
 */
export function pack(backend: WebGPUBackendParts, dataIds: readonly object[]): void {
  const moved = dataIds.map((id) => {
    backend.uploadToGPU(id);
    const data = backend.tensorMap.get(id);
    return { data, size: 4 * tf.util.sizeFromShape(data.shape) };
  });
  for (let first = 0; first < moved.length; ) {
    const offsets: number[] = [];
    let length = 0;
    for (const { size } of moved.slice(first)) {
      if (length > 0 && length + size > SLAB_BYTES) break;
      offsets.push(length);
      length += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    }
    const slab: Slab = { buffer: backend.bufferManager.acquireBuffer(length, tensorUsage()), live: offsets.length };
    for (const [k, offset] of offsets.entries()) {
      const { data, size } = moved[first + k];
      copy(backend, data, slab.buffer, offset, size);
      leave(backend, data);
      data.place = { slab, buffer: slab.buffer, offset, size };
      data.resource = slab.buffer;
    }
    first += offsets.length;
  }
}

/** Gives a tensor's memory back to the driver once what is recorded has been sent: the pool would keep it for its length alone. */
export function leave(backend: WebGPUBackendParts, data: TensorData): void {
  if (!data.place) backend.stagingPendingDisposal.push(data.resource as GPUBuffer);
  else if (--data.place.slab.live === 0) backend.stagingPendingDisposal.push(data.place.buffer);
  data.place = undefined;
}
