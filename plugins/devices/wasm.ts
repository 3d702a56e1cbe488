import { createRequire } from 'node:module';
import os from 'node:os';
import { dirname } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { COLLECTIVE, DEVICE, type DeviceReport, fail, type Host } from '../../core/index.js';
import { registerWasmKernels } from './wasm/register.js';

export interface WasmOptions {
  /** Threads of matrix products and convolutions, 1 for the plain build; by default all cores, divided among the ranks of this machine. */
  readonly threads?: number;
}

const require = createRequire(import.meta.url);

/**
 * WebAssembly with SIMD and threads, in Node. The backend is made once a process: a later run with another number of
 * threads keeps the first's.
 */
export const wasm = (options: WasmOptions = {}) => {
  let localSize = 1;
  return {
    name: 'wasm',
    fills: DEVICE,
    after: [COLLECTIVE],
    apply({ resolve }: Host) {
      ({ localSize } = resolve(COLLECTIVE));
    },
    setUp: () => start(options.threads ?? Math.max(1, Math.floor(os.availableParallelism() / localSize))),
  };
};

async function start(threads: number): Promise<DeviceReport> {
  if (!Number.isInteger(threads) || threads < 1)
    fail('OPTION_INVALID', 'wasm', `threads is ${threads}`, 'Give a whole number, at least 1.');
  const backend = await import('@tensorflow/tfjs-backend-wasm');
  if (!('wasm' in tf.engine().registry)) {
    backend.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
    const restore = threads > 1 ? allowThreads(threads) : () => undefined;
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', threads > 1);
    backend.setThreadsCount(threads);
    try {
      await tf.setBackend('wasm');
      await tf.ready();
    } catch (error) {
      fail(
        'DEVICE_UNAVAILABLE',
        'wasm',
        `TensorFlow.js could not start it: ${(error as Error).message}`,
        'Reinstall @tensorflow/tfjs-backend-wasm.',
        error,
      );
    } finally {
      restore();
    }
  } else await tf.setBackend('wasm');
  const count = backend.getThreadsCount();
  registerWasmKernels(count);
  return { name: 'wasm', detail: `SIMD, ${count} thread${count === 1 ? '' : 's'}`, memory: 'up to 4 GiB' };
}

type WorkerClass = typeof import('node:worker_threads').Worker;

/**
 * The threaded module was written for browsers. For as long as it starts, this gives it what it misses in Node: a worker
 * file (it asks for a blob's address, which Node's Worker cannot open), as many cores as threads are wanted (it takes half
 * of what it is told), and workers that do not keep the process alive.
 */
function allowThreads(threads: number): () => void {
  const threadsModule = require('node:worker_threads') as { Worker: WorkerClass };
  const system = require('node:os') as typeof os;
  const { Worker } = threadsModule;
  const { cpus } = system;
  const { createObjectURL } = URL;
  const script = require.resolve('@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-threaded-simd.js');
  const worker = require.resolve('@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-threaded-simd.worker.js');
  // The module's worker, with the script's path where it would make a blob's address.
  const code = `const { createRequire } = require('node:module');
    globalThis.require = createRequire(${JSON.stringify(script)}); globalThis.__filename = ${JSON.stringify(script)};
    URL.createObjectURL = () => ${JSON.stringify(script)}; URL.revokeObjectURL = () => {};
    (0, eval)(require(${JSON.stringify(worker)}).wasmWorkerContents.replace(/\\n/g, '\\\\n'));`;
  threadsModule.Worker = class extends Worker {
    constructor() {
      super(code, { eval: true });
      super.unref();
    }
    override ref(): void {}
  };
  system.cpus = () => new Array(2 * threads).fill(cpus()[0]);
  URL.createObjectURL = () => 'steploom:wasm-worker';
  return () => {
    threadsModule.Worker = Worker;
    system.cpus = cpus;
    URL.createObjectURL = createObjectURL;
  };
}
