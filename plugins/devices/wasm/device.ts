import { ROOM, Workers } from '#wasm-workers';
import { fail } from '../../../core/index.js';
import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { keepOn } from '../compute/installed.js';
import type { Undo } from '../compute/undo.js';
import { CompiledPrograms } from './compiled-programs.js';
import type { BackendInternals } from './internals.js';
import { Kept } from './kept.js';
import { compiledModule, type ModuleKernels, type SharedKernel } from './module.js';
import { Scratch } from './scratch.js';

/** Multiplications, some 10 us of work, that are worth sharing among threads. */
const ENOUGH = 1 << 17;
/** Shares of a thread, so that one that was held up leaves its rest to others. */
const CHUNKS = 8;

/** What we keep beside a wasm backend of TensorFlow.js: `install()` makes it, kernels are given it. */
export class WasmDevice {
  /** Our module, working in the backend's memory. */
  readonly module: ModuleKernels;
  readonly compiled: WebAssembly.Module;
  readonly scratch: Scratch;
  readonly kept: Kept;
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
    this.compiled = compiledModule(this.isShared);
    this.module = new WebAssembly.Instance(this.compiled, { env: { memory } }).exports as unknown as ModuleKernels;
    this.scratch = new Scratch(wasm);
    this.kept = new Kept(backend);
    this.programs = new CompiledPrograms(memory, this.isShared);
    this.forget = keepOn(backend, this);
  }

  /** Threads beside the main one, started when there is first enough for them to do. */
  get workers(): Workers {
    this.helpers ??= new Workers(this);
    return this.helpers;
  }

  /**
   * Runs a kernel of our module over blocks: the first of them, the one after the last and a thread's room are the last arguments of its function. All threads
   * share them where there are `multiplications` enough to be worth waking any.
   */
  overBlocks(name: SharedKernel, args: readonly number[], blocks: number, multiplications: number): void {
    const room = this.scratch.at('room', ROOM);
    const all = [...args, 0, blocks, room];
    if (this.threads === 1 || !this.isShared || blocks === 1 || multiplications < ENOUGH) {
      (this.module[name] as (...args: number[]) => void)(...all);
      return;
    }
    const places = { from: args.length, to: args.length + 1, room: args.length + 2 };
    const chunk = Math.max(1, Math.floor(blocks / (CHUNKS * this.threads)));
    this.workers.run({ kernel: this.workers.numberOf(name), args: all, places, blocks, chunk }, room);
  }

  /** Forgets the backend, and ends the threads. */
  dispose(): void {
    this.forget();
    this.helpers?.terminate();
    this.scratch.free();
    this.kept.free();
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
   * To be called after a tensor was changed in place: what was kept of it is of the old one; and XNNPACK, which does what our convolutions do not (depthwise, dilated), keeps packed copies of weights
   * by their number, and would go on multiplying with the old ones.
   */
  forgetPacked({ dataId, shape }: TensorInfo): void {
    this.kept.forget(dataId);
    const { id, memoryOffset } = this.backend.dataIdMap.get(dataId);
    this.backend.wasm.tfjs.disposeData(id);
    this.backend.wasm.tfjs.registerTensor(id, tf.util.sizeFromShape(shape), memoryOffset);
  }
}
