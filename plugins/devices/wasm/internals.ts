import type { DataType, TensorInfo } from '@tensorflow/tfjs';

/** All of TensorFlow.js's wasm backend (version 4.22) that is reached into. */
export interface BackendInternals {
  readonly wasm: {
    readonly HEAPU8: Uint8Array;
    /** The threaded build's shared memory; the plain build has it among its exports. */
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
  readSync(id: object): Float32Array;
  typedArrayFromHeap(tensor: TensorInfo): Float32Array;
}

/** The product in the backend's module. XNNPACK's fast one is behind it for a batch of 1 without transposes only. */
export type Multiply = (
  a: number,
  aShape: Uint8Array,
  aRank: number,
  b: number,
  bShape: Uint8Array,
  bRank: number,
  transposeA: number,
  transposeB: number,
  out: number,
) => void;

export const multiplyOf = ({ wasm }: BackendInternals): Multiply =>
  wasm.cwrap('BatchMatMul', null, [
    'number',
    'array',
    'number',
    'number',
    'array',
    'number',
    'number',
    'number',
    'number',
  ]) as unknown as Multiply;
