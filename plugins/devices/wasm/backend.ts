import type { DataType, TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';

/** The parts of TensorFlow.js's wasm backend that our kernels reach into (version 4.22). */
export interface WasmBackendParts {
  readonly wasm: {
    readonly HEAPU8: Uint8Array;
    /** The threaded build's shared memory; the plain build has its own among its exports. */
    readonly wasmMemory?: WebAssembly.Memory;
    readonly asm?: { readonly memory?: WebAssembly.Memory };
    _malloc(bytes: number): number;
    _free(address: number): void;
    cwrap(name: string, result: string | null, parameters: string[]): (...args: unknown[]) => unknown;
    readonly tfjs: { registerTensor(id: number, size: number, offset: number): void; disposeData(id: number): void };
  };
  readonly dataIdMap: { get(id: object): { id: number; memoryOffset: number; shape: number[]; dtype: DataType } };
  dataIdNextNumber: number;
  makeOutput(shape: number[], dtype: DataType): TensorInfo;
  incRef(id: object): void;
  disposeData(id: object): boolean;
}

let heap: Float32Array = new Float32Array(0);

/** The whole heap as floats. Allocate outputs first: growing the heap detaches views. */
export function floats(backend: WasmBackendParts): Float32Array {
  const { buffer } = backend.wasm.HEAPU8;
  if (heap.buffer !== buffer) heap = new Float32Array(buffer);
  return heap;
}

/** Where a tensor begins in {@link floats}. */
export const startOf = (backend: WasmBackendParts, { dataId }: TensorInfo): number => backend.dataIdMap.get(dataId).memoryOffset / 4;

/** A tensor's address in bytes. */
export const address = (backend: WasmBackendParts, { dataId }: TensorInfo): number => backend.dataIdMap.get(dataId).memoryOffset;

/** A tensor's numbers, in the heap. */
export const view = (backend: WasmBackendParts, tensor: TensorInfo): Float32Array => {
  const start = startOf(backend, tensor);
  return floats(backend).subarray(start, start + tf.util.sizeFromShape(tensor.shape));
};

/**
 * To be called after a tensor was changed in place: XNNPACK keeps packed copies of weights by their number, and would go on
 * multiplying with the old ones.
 */
export function forgetPacked(backend: WasmBackendParts, { dataId, shape }: TensorInfo): void {
  const { id, memoryOffset } = backend.dataIdMap.get(dataId);
  backend.wasm.tfjs.disposeData(id);
  backend.wasm.tfjs.registerTensor(id, tf.util.sizeFromShape(shape), memoryOffset);
}

/** Runs one of the backend's kernels. */
export const run = (
  name: string,
  backend: WasmBackendParts,
  inputs: Record<string, TensorInfo>,
  attrs: Record<string, unknown> = {},
): TensorInfo =>
  (tf.getKernel(name, 'wasm') as tf.KernelConfig).kernelFunc({ inputs, attrs: attrs as never, backend: backend as never }) as TensorInfo;

export const free = (backend: WasmBackendParts, ...tensors: TensorInfo[]): void => {
  for (const { dataId } of tensors) backend.disposeData(dataId);
};
