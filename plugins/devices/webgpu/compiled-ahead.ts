import { CompileThreads, possibleThreads } from './compile-threads.js';
import { begin, isFree, isOver, newState, type Work } from './compile-work.js';
import type { Uncompiled, WebGPUDevice } from './device.js';
import { compile } from './dispatch.js';

export const isCompiled = (pipeline: GPUComputePipeline | Uncompiled): pipeline is GPUComputePipeline => !('code' in pipeline);

/** So many are worth threads. */
const MANY = 8;

/** A shader that the driver has in its cache is there in less, in milliseconds. */
const FROM_CACHE = 60;

/**
 * Compiles the shaders of a graph while it is captured. Drivers compile one at a time on the thread that asks, seconds for a whole model; but NVIDIA's keeps
 * what it has compiled on disk, for whoever asks next. So once it is seen not to have one there, threads compile the others side by side, each for a device
 * of its own, from when they are noted; and each pipeline is made from the cache when a thread is done with it.
 * (WebGPU's own asynchronous compilation used two threads on an H200.)
 */
export class CompiledAhead {
  /** Those for threads that are no pipelines yet, by name. */
  private readonly waiting = new Map<string, Uncompiled & Work>();
  private threads: CompileThreads | null = null;
  /** As many as may be started: set when the driver was slow. */
  private most = 0;

  constructor(private readonly device: WebGPUDevice) {}

  /** The pipeline of a shader, or what stands for it until all are made. */
  get(key: string, code: () => string): GPUComputePipeline | Uncompiled {
    let shader = this.waiting.get(key);
    if (shader) return shader;
    if (this.most === 0) return this.make({ key, code: code() });
    this.waiting.set(key, (shader = { key, code: code(), state: newState() }));
    if (this.threads) this.threads.add(shader);
    else if (this.waiting.size >= MANY) {
      this.threads = new CompileThreads(this.most);
      for (const each of this.waiting.values()) this.threads.add(each);
    }
    return shader;
  }

  /** Makes those that are missing. What threads do not do is done without them. */
  finish(): void {
    const { threads, waiting } = this;
    threads?.close();
    while (waiting.size > 0) {
      const happened = threads?.happened ?? 0;
      const shader = this.next();
      if (shader) this.make(shader);
      else if (!threads?.wait(happened)) break;
    }
    for (const shader of waiting.values()) this.make(shader);
    threads?.end();
  }

  /** Has threads begin no more, where nobody needs the graph. */
  giveUp(): void {
    for (const shader of this.waiting.values()) begin(shader);
    this.threads?.end();
  }

  /** What there is to do here beside threads: to make the pipelines that they are done with, else to compile the shortest that is left. */
  private next(): Uncompiled | undefined {
    const all = [...this.waiting.values()];
    return (
      all.find(isOver) ??
      all
        .filter(isFree)
        .sort((a, b) => a.code.length - b.code.length)
        .find(begin)
    );
  }

  private make({ key, code }: Uncompiled): GPUComputePipeline {
    const { device } = this;
    const began = performance.now();
    const pipeline = compile(device, key, code);
    if (this.most === 0 && performance.now() - began > FROM_CACHE && device.adapter.info.vendor === 'nvidia') this.most = possibleThreads();
    this.waiting.delete(key);
    device.pipelines.set(key, pipeline);
    return pipeline;
  }
}
