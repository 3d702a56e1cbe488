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

/** A bucket's buffers: one to read from, one to write through. */
interface Stage {
  readonly down: GPUBuffer;
  readonly up: GPUBuffer;
  readonly array: Float32Array<ArrayBuffer>;
}

/** Reused from step to step. */
const stages = new WeakMap<GPUDevice, Stage[]>();

function stageOf(device: GPUDevice, index: number): Stage {
  let list = stages.get(device);
  if (!list) stages.set(device, (list = []));
  const { COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
  list[index] ??= {
    down: device.createBuffer({ size: 4 * BUCKET, usage: COPY_DST | MAP_READ }),
    up: device.createBuffer({ size: 4 * BUCKET, usage: COPY_DST | COPY_SRC }),
    array: new Float32Array(BUCKET),
  };
  return list[index];
}

/** Part of a tensor in a bucket; positions in floats. */
interface Piece {
  readonly tensor: Tensor;
  readonly from: number;
  readonly at: number;
  readonly count: number;
}

/**
 * Bucket by bucket: all copies to buffers that can be read are sent at once, and while one bucket is reduced, the next comes back.
 * The sums are written where the gradients were. The numbers beside them travel in the first bucket.
 */
async function inBuffers(collective: Collective, tensors: Tensors, extra: Float32Array, options: ReduceOptions): Promise<Tensors> {
  const backend = tf.backend() as unknown as WebGPUBackendParts;
  const { device } = backend;
  const out: Tensors = {};
  for (const [path, tensor] of Object.entries(tensors)) out[path] = ownMemory(tensor);
  const head = options.half ? 0 : extra.length;
  const buckets: { pieces: Piece[]; filled: number }[] = [];
  for (const tensor of Object.values(out))
    for (let from = 0; from < tensor.size; ) {
      let bucket = buckets.at(-1);
      if (!bucket || bucket.filled === BUCKET) buckets.push((bucket = { pieces: [], filled: buckets.length === 0 ? head : 0 }));
      const count = Math.min(BUCKET - bucket.filled, tensor.size - from);
      bucket.pieces.push({ tensor, from, at: bucket.filled, count });
      bucket.filled += count;
      from += count;
    }
  for (const tensor of Object.values(out)) touch(backend, tensor);
  const copyAll = (encoder: GPUCommandEncoder, index: number, back: boolean) => {
    const { down, up } = stageOf(device, index);
    for (const { tensor, from, at, count } of buckets[index].pieces) {
      const { buffer, offset = 0 } = bindingOf(backend.tensorMap.get(tensor.dataId));
      if (back) encoder.copyBufferToBuffer(up, 4 * at, buffer, offset + 4 * from, 4 * count);
      else encoder.copyBufferToBuffer(buffer, offset + 4 * from, down, 4 * at, 4 * count);
    }
  };
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  for (const index of buckets.keys()) copyAll(backend.commandEncoder as GPUCommandEncoder, index, false);
  backend.submitQueue();
  const mapped = buckets.map(({ filled }, index) => stageOf(device, index).down.mapAsync(GPUMapMode.READ, 0, 4 * filled));
  for (const map of mapped) map.catch(() => undefined);
  for (const [index, { filled }] of buckets.entries()) {
    await mapped[index];
    const { down, up, array } = stageOf(device, index);
    const used = array.subarray(0, filled);
    used.set(new Float32Array(down.getMappedRange(0, 4 * filled)));
    down.unmap();
    if (index === 0) used.set(extra.subarray(0, head));
    await collective.allReduce([used], options);
    if (index === 0) extra.set(used.subarray(0, head));
    device.queue.writeBuffer(up, 0, array, 0, filled);
    const encoder = device.createCommandEncoder();
    copyAll(encoder, index, true);
    device.queue.submit([encoder.finish()]);
  }
  if (options.half || buckets.length === 0) await plain(collective, extra);
  return out;
}
