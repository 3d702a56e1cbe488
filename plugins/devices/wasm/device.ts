import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { fail } from '../../../core/index.js';
import { keepOn } from '../compute/installed.js';
import type { Undo } from '../compute/undo.js';
import { CompiledPrograms } from './compiled-programs.js';
import { type BackendInternals, type Multiply, multiplyOf } from './internals.js';
import { instantiate, type ModuleKernels } from './module.js';
import { Scratch } from './scratch.js';
import { Workers } from './workers.js';

/** What we keep beside a wasm backend of TensorFlow.js: `install()` makes it, kernels are given it. */
export class WasmDevice {
  /** Our module, working in the backend's memory. */
  readonly module: ModuleKernels;
  readonly multiply: Multiply;
  readonly scratch: Scratch;
  readonly programs: CompiledPrograms;
  /** Whether the backend runs threads, whose memory is shared. */
  readonly isShared: boolean;
  readonly memory: WebAssembly.Memory;
  /** Takes back everything that `install()` did. */
  undo: Undo = () => undefined;
  private readonly forget: Undo;
  private heap: Float32Array = new Float32Array(0);
  private helpers: Workers | null = null;

  constructor(
    readonly backend: BackendInternals,
    readonly threads: number,
  ) {
    const { wasm } = backend;
    this.isShared = typeof SharedArrayBuffer !== 'undefined' && wasm.HEAPU8.buffer instanceof SharedArrayBuffer;
    const memory = wasm.wasmMemory ?? wasm.asm?.memory;
    if (!memory)
      fail(
        'LIBRARY_DIFFERS',
        'wasm',
        'this version of @tensorflow/tfjs-backend-wasm keeps its memory where steploom does not find it',
        'Install version 4.22.',
      );
    this.memory = memory;
    this.module = instantiate(memory, this.isShared);
    this.multiply = multiplyOf(backend);
    this.scratch = new Scratch(wasm);
    this.programs = new CompiledPrograms(memory, this.isShared);
    this.forget = keepOn(backend, this);
  }

  /** Threads beside the main one, started when there is first enough for them to do. */
  get workers(): Workers {
    this.helpers ??= new Workers(this);
    return this.helpers;
  }

  /** Forgets the backend, and ends the threads. */
  dispose(): void {
    this.forget();
    this.helpers?.terminate();
    this.scratch.free();
  }

  /** The whole heap as floats. Allocate outputs first: growing the heap detaches views. */
  floats(): Float32Array {
    const { buffer } = this.backend.wasm.HEAPU8;
    if (this.heap.buffer !== buffer) this.heap = new Float32Array(buffer);
    return this.heap;
  }

  /** A tensor's address in bytes. */
  address({ dataId }: TensorInfo): number {
    return this.backend.dataIdMap.get(dataId).memoryOffset;
  }

  /** Where a tensor begins in {@link floats}. */
  startOf(tensor: TensorInfo): number {
    return this.address(tensor) / 4;
  }

  /** A tensor's numbers, in the heap. */
  view(tensor: TensorInfo): Float32Array {
    const start = this.startOf(tensor);
    return this.floats().subarray(start, start + tf.util.sizeFromShape(tensor.shape));
  }

  /** A number, or a scalar's value: it lies in memory that the host shares. */
  numberIn(x: number | TensorInfo): number {
    return typeof x === 'number' ? x : this.floats()[this.startOf(x)];
  }

  /** A new tensor of floats; what is in it is not said. */
  newTensor(shape: readonly number[]): TensorInfo {
    return this.backend.makeOutput([...shape], 'float32');
  }

  free(...tensors: TensorInfo[]): void {
    for (const { dataId } of tensors) this.backend.disposeData(dataId);
  }

  /** Runs one of the backend's kernels. */
  run(name: string, inputs: Record<string, TensorInfo>, attrs: Record<string, unknown> = {}): TensorInfo {
    const { kernelFunc } = tf.getKernel(name, 'wasm') as tf.KernelConfig;
    return kernelFunc({ inputs, attrs: attrs as never, backend: this.backend as never }) as TensorInfo;
  }

  /**
   * To be called after a tensor was changed in place: XNNPACK keeps packed copies of weights by their number, and would go on
   * multiplying with the old ones.
   */
  forgetPacked({ dataId, shape }: TensorInfo): void {
    const { id, memoryOffset } = this.backend.dataIdMap.get(dataId);
    this.backend.wasm.tfjs.disposeData(id);
    this.backend.wasm.tfjs.registerTensor(id, tf.util.sizeFromShape(shape), memoryOffset);
  }
}
