import type { DataType, TensorInfo } from '../../../core/tf.js';

/** All of TensorFlow.js's wasm backend (version 4.22) that is reached into. */
export interface BackendInternals {
  readonly wasm: {
    readonly HEAPU8: Uint8Array;
    /** The threaded build's shared memory; the plain build has it among its exports. */
    readonly wasmMemory?: WebAssembly.Memory;
    readonly asm?: { readonly memory?: WebAssembly.Memory };
    _malloc(bytes: number): number;
    _free(address: number): void;
    readonly tfjs: { registerTensor(id: number, size: number, offset: number): void; disposeData(id: number): void };
  };
  readonly dataIdMap: { get(id: object): { id: number; memoryOffset: number; shape: number[]; dtype: DataType } };
  makeOutput(shape: number[], dtype: DataType): TensorInfo;
  incRef(id: object): void;
  disposeData(id: object): boolean;
  readSync(id: object): Float32Array;
  typedArrayFromHeap(tensor: TensorInfo): Float32Array;
}
