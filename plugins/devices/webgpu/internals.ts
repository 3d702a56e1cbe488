import type { DataType, TensorInfo } from '../../../core/tf.js';

/** One buffer in which many small tensors lie; it goes back when the last of them does: to the driver, or to the pool, for the next step. */
export interface Slab {
  readonly buffer: GPUBuffer;
  readonly pooled: boolean;
  live: number;
}

/** Where a tensor lies in a slab, in bytes: it is its binding, too. */
export interface Place extends GPUBufferBinding {
  readonly slab: Slab;
  readonly offset: number;
  readonly size: number;
}

/** What the backend knows of a tensor's memory (its `TensorData`). */
export interface TensorEntry {
  resource?: GPUBuffer | null;
  /** Ours: where it lies, if in a slab. */
  place?: Place;
  /** Ours: whether its memory holds float16 (see storage.ts). */
  half?: boolean;
  /** Its numbers, where the host knows them. */
  values: ArrayLike<number> | null;
  readonly dtype: DataType;
  readonly shape: number[];
}

/** What a shader is told beside its tensors. */
export interface Uniform {
  readonly type: string;
  readonly data: number[];
}

/** A kernel of TensorFlow.js, compiled. */
export interface TensorFlowProgram {
  readonly pipeline: GPUComputePipeline | Promise<GPUComputePipeline>;
  readonly dispatch: readonly [number, number, number];
  readonly pixelsOpType?: unknown;
  readonly outputComponent?: number;
  readonly size?: boolean;
}

/** What the backend knows of tensors, by their identities. */
export interface TensorMap {
  get(id: object): TensorEntry;
  set(id: object, entry: TensorEntry): void;
  has(id: object): boolean;
  delete(id: object): boolean;
  numDataIds(): number;
}

/** Where the backend takes its buffers from. */
export interface BufferManager {
  acquireBuffer(size: number, usage: number, mappedAtCreation?: boolean, reuse?: boolean): GPUBuffer;
  releaseBuffer(buffer: GPUBuffer, reuse?: boolean): void;
  dispose(): void;
}

/** All of TensorFlow.js's WebGPU backend (version 4.22) that we reach into. */
export interface BackendInternals {
  readonly device: GPUDevice;
  readonly queue: GPUQueue;
  readonly tensorMap: TensorMap;
  bufferManager: BufferManager;
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  /** Tensors that what is recorded uses: their memory stays until it has been sent. */
  readonly commandQueueOwnedIds: WeakSet<object>;
  /** Released, and free for others, when what is recorded has been sent. */
  readonly uniformPendingDisposal: GPUBuffer[];
  /** Tensors that were disposed meanwhile. */
  readonly tensorDataPendingDisposal: object[];
  /** Destroyed then. */
  readonly stagingPendingDisposal: GPUBuffer[];
  readonly activeTimers?: unknown;
  /** TensorFlow.js's kernels that are compiled. */
  readonly pipelineCache: Record<string, unknown>;
  uploadToGPU(id: object): void;
  makeTensorInfo(shape: number[], dtype: DataType): TensorInfo;
  makeUniforms(uniforms: readonly Uniform[]): { readonly buffer: GPUBuffer };
  tensorToBinding(tensor: TensorInfo | null): unknown;
  recordAndSubmit(program: TensorFlowProgram, output: TensorInfo, inputs: readonly TensorInfo[], uniforms?: readonly Uniform[]): void;
  releaseResource(id: object): void;
  read(id: object): Promise<ArrayLike<number>>;
  readSync(id: object): ArrayLike<number>;
  /** Whether a kernel is to compute on the host what is small and only there. */
  shouldExecuteOnCPU(inputs: readonly TensorInfo[], most?: number): boolean;
  readToGPU(id: object, options?: unknown): unknown;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  disposeData(id: object): boolean;
}

/** What must be there for the rest to work: names of {@link BackendInternals}. */
export const EXPECTED = {
  object: [
    'device',
    'queue',
    'tensorMap',
    'bufferManager',
    'commandQueueOwnedIds',
    'tensorDataPendingDisposal',
    'uniformPendingDisposal',
    'stagingPendingDisposal',
    'pipelineCache',
  ],
  number: ['dispatchCountInPass'],
  function: [
    'uploadToGPU',
    'makeTensorInfo',
    'makeUniforms',
    'tensorToBinding',
    'recordAndSubmit',
    'releaseResource',
    'read',
    'readSync',
    'shouldExecuteOnCPU',
    'readToGPU',
    'ensureCommandEncoderReady',
    'endComputePassEncoder',
    'submitQueue',
    'disposeData',
  ],
} as const satisfies Record<string, readonly (keyof BackendInternals)[]>;
