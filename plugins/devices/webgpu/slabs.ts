import * as tf from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import type { Slab, TensorEntry } from './internals.js';
import { tensorUsage } from './storage.js';

/** What binds a tensor whose values are on the device. */
export const bindingOf = ({ resource, place }: TensorEntry): GPUBufferBinding => place ?? { buffer: resource as GPUBuffer };

/** A tensor's values as they stand in memory. */
export function numbersOf({ dtype, values }: TensorEntry): Float32Array<ArrayBuffer> {
  const isFloat = dtype !== 'int32' && dtype !== 'bool';
  const fits = isFloat ? values instanceof Float32Array : values instanceof Int32Array;
  return (fits ? values : (isFloat ? Float32Array : Int32Array).from(values as ArrayLike<number>)) as Float32Array<ArrayBuffer>;
}

/** Records a copy of a tensor's memory, in order with what is recorded. */
export function copy(device: WebGPUDevice, from: TensorEntry, to: GPUBuffer, offset: number, size: number): void {
  const { buffer, offset: start = 0 } = bindingOf(from);
  device.encoder().copyBufferToBuffer(buffer, start, to, offset, size);
}

/** Where a binding may begin is a multiple of this on every device. */
const ALIGNMENT = 256;

/** A slab is no longer: what every device can bind, and little enough to come back soon. */
const SLAB_BYTES = 2 ** 26;

/** Where memories of so many bytes begin in a slab, of as many as it has room for (one at least), and how long it is. */
export function laidOut(sizes: readonly number[]): { readonly offsets: readonly number[]; readonly length: number } {
  const offsets: number[] = [];
  let length = 0;
  for (const size of sizes) {
    if (length > 0 && length + size > SLAB_BYTES) break;
    offsets.push(length);
    length += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
  }
  return { offsets, length };
}

/**
 * Moves float tensors into new slabs, so that one shader reaches many of them through one binding. No shader may then read one
 * of a slab and write another through separate bindings.
 */
export function pack(device: WebGPUDevice, dataIds: readonly object[]): void {
  const { backend } = device;
  const moved = dataIds.map((id) => {
    backend.uploadToGPU(id);
    const entry = backend.tensorMap.get(id);
    return { entry, size: 4 * tf.util.sizeFromShape(entry.shape) };
  });
  for (let first = 0; first < moved.length; ) {
    const { offsets, length } = laidOut(moved.slice(first).map(({ size }) => size));
    const slab: Slab = { buffer: device.buffers.acquireBuffer(length, tensorUsage()), pooled: false, live: offsets.length };
    slab.buffer.label = `slab of ${offsets.length} tensors, ${length} bytes`;
    for (const [k, offset] of offsets.entries()) {
      const { entry, size } = moved[first + k];
      copy(device, entry, slab.buffer, offset, size);
      releaseMemory(device, entry);
      entry.place = { slab, buffer: slab.buffer, offset, size };
      entry.resource = slab.buffer;
    }
    first += offsets.length;
  }
}

/**
 * Gives a tensor's memory back once what is recorded has been sent: to the driver, since the pool would keep it for its length alone, but for a slab that
 * the next step asks for again.
 */
export function releaseMemory({ backend }: WebGPUDevice, entry: TensorEntry): void {
  const { place } = entry;
  if (!place) backend.stagingPendingDisposal.push(entry.resource as GPUBuffer);
  else if (--place.slab.live === 0)
    (place.slab.pooled ? backend.uniformPendingDisposal : backend.stagingPendingDisposal).push(place.buffer);
  entry.place = undefined;
}
