import type { CompileWork } from './compile-worker.js';
import type { Uncompiled, WebGPUDevice } from './device.js';
import { compile } from './dispatch.js';
import { unseen } from './native-errors.js';

export const isCompiled = (pipeline: GPUComputePipeline | Uncompiled): pipeline is GPUComputePipeline => !('code' in pipeline);

/** So many are worth threads. */
const MANY = 8;

/** Threads that compile, each with a device; and how long they are waited for, in milliseconds. */
const MOST_THREADS = 16;
const LONGEST = 120_000;

/** A shader that the driver has in its cache is there in less, in milliseconds. */
const FROM_CACHE = 60;

/**
 * Compiles shaders that are to run soon. Drivers compile one at a time on the thread that asks, seconds for a whole model; but NVIDIA's keeps what it has
 * compiled on disk, for whoever asks next. So where one was not there, threads compile all of them side by side, each for a device of its own, and the pipelines are made from the cache.
 * (WebGPU's own asynchronous compilation used two threads on an H200.)
 */
export function compileAll(device: WebGPUDevice, shaders: readonly Uncompiled[]): void {
  // Long texts take longest.
  const ordered = [...shaders].sort((a, b) => b.code.length - a.code.length);
  const add = ({ key, code }: Uncompiled) => device.pipelines.set(key, compile(device, key, code));
  const [one] = ordered.splice(ordered.length >> 1, 1);
  if (!one) return;
  const began = performance.now();
  add(one);
  if (ordered.length >= MANY && performance.now() - began > FROM_CACHE) unseen(() => fillCache(device, ordered));
  for (const shader of ordered) add(shader);
}

/** Has the driver's cache filled by other threads, and waits for them. What they do not do is done without them. */
function fillCache({ adapter }: WebGPUDevice, shaders: readonly Uncompiled[]): void {
  const builtin = globalThis.process?.getBuiltinModule;
  if (!builtin || adapter.info.vendor !== 'nvidia') return;
  const [{ Worker }, { existsSync }, { availableParallelism }] = [builtin('node:worker_threads'), builtin('node:fs'), builtin('node:os')];
  const file = new URL('./compile-worker.js', import.meta.url);
  const threads = Math.min(MOST_THREADS, availableParallelism());
  if (threads < 3 || !existsSync(file)) return;
  const work: CompileWork = { codes: shaders.map(({ code }) => code), counts: new Int32Array(new SharedArrayBuffer(8)) };
  const workers = Array.from({ length: threads }, () => new Worker(file, { workerData: work }));
  const until = performance.now() + LONGEST;
  for (let done = 0; done < threads && performance.now() < until; done = Atomics.load(work.counts, 1))
    Atomics.wait(work.counts, 1, done, until - performance.now());
  for (const worker of workers) void worker.terminate();
}
