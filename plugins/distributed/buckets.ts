import type { Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { Collective, Tensors } from '../../core/index.js';
import { view, type WasmBackendParts } from '../devices/kernels/wasm-heap.js';
import { touch, type WebGPUBackendParts } from '../devices/kernels/webgpu-backend.js';
import { bindingOf } from '../devices/kernels/webgpu-slabs.js';

/** Floats that are reduced at a time: 1 MB, what a prototype was fastest with. */
export const BUCKET = 1 << 18;

export interface ReduceOptions {
  /** Send float16. */
  readonly half?: boolean;
}

/**
 * Adds up tensors over all ranks, and numbers beside them; returns both. The tensors given are consumed: where the device allows it
 * the sums stand in their own memory.
 */
export async function reduce(
  collective: Collective,
  tensors: Tensors,
  numbers: readonly number[],
  options: ReduceOptions = {},
): Promise<{ tensors: Tensors; numbers: number[] }> {
  const extra = Float32Array.from(numbers);
  const device = tf.getBackend();
  const reduced =
    device === 'wasm'
      ? await inHeap(collective, tensors, extra, options)
      : device === 'webgpu'
        ? await inBuffers(collective, tensors, extra, options)
        : await throughHost(collective, tensors, extra, options);
  return { tensors: reduced, numbers: Array.from(extra) };
}

/** Counts never travel as float16. */
const plain = async (collective: Collective, extra: Float32Array): Promise<void> => collective.allReduce([extra]);

/** In the heap itself, without a copy. Nothing else computes meanwhile, so that nothing moves. */
async function inHeap(collective: Collective, tensors: Tensors, extra: Float32Array, options: ReduceOptions): Promise<Tensors> {
  const backend = tf.backend() as unknown as WasmBackendParts;
  const out: Tensors = {};
  for (const [path, tensor] of Object.entries(tensors)) out[path] = ownMemory(tensor);
  const views = Object.values(out).map((tensor) => view(backend, tensor));
  await collective.allReduce(options.half ? views : [extra, ...views], options);
  if (options.half) await plain(collective, extra);
  return out;
}

/** The tensor itself if no other looks at its memory, else a copy of it. */
function ownMemory(tensor: Tensor): Tensor {
  if (tf.backend().refCount(tensor.dataId) === 1 && tensor.dtype === 'float32') return tensor;
  const copy = tf.tidy(() => tensor.add(0));
  tensor.dispose();
  return copy;
}

/** Through arrays, on devices whose memory is not to be reached. */
async function throughHost(collective: Collective, tensors: Tensors, extra: Float32Array, options: ReduceOptions): Promise<Tensors> {
  const entries = Object.entries(tensors);
  const arrays = await Promise.all(entries.map(async ([, tensor]) => (await tensor.data()).slice() as Float32Array));
  await collective.allReduce(options.half ? arrays : [extra, ...arrays], options);
  if (options.half) await plain(collective, extra);
  return Object.fromEntries(
    entries.map(([path, tensor], i) => {
      const { shape } = tensor;
      tensor.dispose();
      return [path, tf.tensor(arrays[i], shape)];
    }),
  );
}

/** Buckets under way at once: reading one takes a while to come back, during which others are reduced. */
const DEPTH = 4;

/** Staging buffers to read from and what was read, reused from step to step. */
const staging = new WeakMap<GPUDevice, { readonly buffers: GPUBuffer[]; readonly arrays: Float32Array<ArrayBuffer>[] }>();

/** Part of a tensor in a bucket; positions in floats. */
interface Piece {
  readonly tensor: Tensor;
  readonly from: number;
  readonly at: number;
  readonly count: number;
}

/** Bucket by bucket: while one is reduced, the next is read. The sums are written where the gradients were. */
async function inBuffers(collective: Collective, tensors: Tensors, extra: Float32Array, options: ReduceOptions): Promise<Tensors> {
  const backend = tf.backend() as unknown as WebGPUBackendParts;
  const { device } = backend;
  const out: Tensors = {};
  for (const [path, tensor] of Object.entries(tensors)) out[path] = ownMemory(tensor);
  const buckets: Piece[][] = [];
  let room = 0;
  for (const tensor of Object.values(out))
    for (let from = 0; from < tensor.size; ) {
      if (room === 0) {
        buckets.push([]);
        room = BUCKET;
      }
      const count = Math.min(room, tensor.size - from);
      (buckets.at(-1) as Piece[]).push({ tensor, from, at: BUCKET - room, count });
      from += count;
      room -= count;
    }
  let kept = staging.get(device);
  if (!kept) {
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    kept = {
      buffers: Array.from({ length: DEPTH }, () => device.createBuffer({ size: 4 * BUCKET, usage })),
      arrays: Array.from({ length: DEPTH }, () => new Float32Array(BUCKET)),
    };
    staging.set(device, kept);
  }
  const { buffers, arrays } = kept;
  const read = async (index: number): Promise<Float32Array<ArrayBuffer>> => {
    const buffer = buffers[index % DEPTH];
    const pieces = buckets[index];
    const count = pieces.reduce((sum, piece) => sum + piece.count, 0);
    const binds = pieces.map(({ tensor }) => bindingOf(touch(backend, tensor)));
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    for (const [i, { from, at, count: floats }] of pieces.entries())
      (backend.commandEncoder as GPUCommandEncoder).copyBufferToBuffer(
        binds[i].buffer,
        (binds[i].offset ?? 0) + 4 * from,
        buffer,
        4 * at,
        4 * floats,
      );
    backend.submitQueue();
    await buffer.mapAsync(GPUMapMode.READ, 0, 4 * count);
    const array = arrays[index % DEPTH].subarray(0, count);
    array.set(new Float32Array(buffer.getMappedRange(0, 4 * count)));
    buffer.unmap();
    return array;
  };
  const reading: Promise<Float32Array<ArrayBuffer>>[] = [];
  const ahead = (index: number) => {
    if (index >= buckets.length) return;
    reading[index] = read(index);
    reading[index].catch(() => undefined);
  };
  for (let index = 0; index < DEPTH; index++) ahead(index);
  for (const [index, pieces] of buckets.entries()) {
    const array = await reading[index];
    await collective.allReduce([array], options);
    for (const { tensor, from, at, count } of pieces) {
      const { buffer, offset } = bindingOf(touch(backend, tensor));
      device.queue.writeBuffer(buffer, (offset ?? 0) + 4 * from, array.buffer, array.byteOffset + 4 * at, 4 * count);
    }
    // Its staging buffer and array are free again.
    ahead(index + DEPTH);
  }
  await plain(collective, extra);
  return out;
}
