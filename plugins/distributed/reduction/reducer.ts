import type { Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { Collective, Tensors } from '../../../core/index.js';
import { view, type WasmBackendParts } from '../../devices/wasm/backend.js';
import type { WebGPUBackendParts } from '../../devices/webgpu/backend.js';
import { WebGPUBuckets } from '../../devices/webgpu/buckets.js';
import { ownMemory, type ReduceOptions } from './buckets.js';

/** Adds up the tensors of each step over all ranks. */
export interface Reducer {
  /** Tells of a tensor that will be among the next step's, by the same name, so that a device may fetch it already. */
  offer(path: string, tensor: Tensor): void;
  /**
   * Adds up tensors over all ranks, and numbers beside them; returns both. The tensors given are consumed: where the device allows it
   * the sums stand in their own memory. Every call has the same names.
   */
  reduce(tensors: Tensors, numbers: readonly number[]): Promise<{ tensors: Tensors; numbers: number[] }>;
  dispose(): void;
}

/** A reducer for the current device. */
export function reducer(collective: Collective, options: ReduceOptions = {}): Reducer {
  const device = tf.getBackend();
  const buckets = device === 'webgpu' ? new WebGPUBuckets(collective, tf.backend() as unknown as WebGPUBackendParts, options) : null;
  return {
    offer: (path, tensor) => buckets?.offer(path, tensor),
    dispose: () => buckets?.dispose(),
    async reduce(tensors, numbers) {
      const extra = Float32Array.from(numbers);
      const reduced = buckets
        ? await buckets.reduce(tensors, extra)
        : await (device === 'wasm' ? inHeap : throughHost)(collective, tensors, extra, options);
      return { tensors: reduced, numbers: Array.from(extra) };
    },
  };
}

/** In the heap itself, without a copy. Nothing else computes meanwhile, so that nothing moves. Counts never travel as float16. */
async function inHeap(collective: Collective, tensors: Tensors, extra: Float32Array, options: ReduceOptions): Promise<Tensors> {
  const backend = tf.backend() as unknown as WasmBackendParts;
  const out: Tensors = {};
  for (const [path, tensor] of Object.entries(tensors)) out[path] = ownMemory(tensor);
  const views = Object.values(out).map((tensor) => view(backend, tensor));
  await collective.allReduce(options.half ? views : [extra, ...views], options);
  if (options.half) await collective.allReduce([extra]);
  return out;
}

/** Through arrays, on devices whose memory is not to be reached. */
async function throughHost(collective: Collective, tensors: Tensors, extra: Float32Array, options: ReduceOptions): Promise<Tensors> {
  const entries = Object.entries(tensors);
  const arrays = await Promise.all(entries.map(async ([, tensor]) => (await tensor.data()).slice() as Float32Array));
  await collective.allReduce(options.half ? arrays : [extra, ...arrays], options);
  if (options.half) await collective.allReduce([extra]);
  return Object.fromEntries(
    entries.map(([path, tensor], i) => {
      const { shape } = tensor;
      tensor.dispose();
      return [path, tf.tensor(arrays[i], shape)];
    }),
  );
}
