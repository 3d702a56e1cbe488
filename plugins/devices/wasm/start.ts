import { createRequire } from 'node:module';
import os from 'node:os';
import { Effects, override, type Undo } from '../compute/undo.js';

// What a start in Node needs; browsers have start.browser.ts in its place (package.json's imports).

const require = createRequire(import.meta.url);

/** The most threads that are of use. */
export const mostThreads = (): number => os.availableParallelism();

/** Remembers who listens for errors that nobody caught; undoing removes those added since, and adds those removed since. */
export function keepListeners(): Undo {
  const events = ['uncaughtException', 'unhandledRejection'] as const;
  const listenersOf = (event: string) => process.listeners(event as 'uncaughtException');
  const before = events.map(listenersOf);
  return () => {
    for (const [i, event] of events.entries()) {
      const now = listenersOf(event);
      for (const listener of now) if (!before[i].includes(listener)) process.off(event, listener);
      for (const listener of before[i]) if (!now.includes(listener)) process.on(event, listener);
    }
  };
}

type WorkerClass = typeof import('node:worker_threads').Worker;

/**
 * The threaded module was written for browsers. For as long as it starts, this gives it what it misses in Node: a worker
 * file (it asks for a blob's address, which Node's Worker cannot open), as many cores as threads are wanted (it takes half
 * of what it is told), and workers that do not keep the process alive.
 *
 * The module's loader listens for uncaught exceptions and unhandled rejections only to throw them again, which prints its source in
 * place of the error: these listeners are taken away.
 */
export function duringStart(threads: number): Undo {
  const effects = new Effects();
  effects.add(keepListeners());
  if (threads === 1) return effects.undo;
  const threadsModule = require('node:worker_threads') as { Worker: WorkerClass };
  const system = require('node:os') as typeof import('node:os');
  const { Worker } = threadsModule;
  const [cpu] = system.cpus();
  const script = require.resolve('@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-threaded-simd.js');
  const worker = require.resolve('@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-threaded-simd.worker.js');
  // The module's worker, with the script's path where it would make a blob's address.
  const code = `const { createRequire } = require('node:module');
    globalThis.require = createRequire(${JSON.stringify(script)}); globalThis.__filename = ${JSON.stringify(script)};
    URL.createObjectURL = () => ${JSON.stringify(script)}; URL.revokeObjectURL = () => {};
    (0, eval)(require(${JSON.stringify(worker)}).wasmWorkerContents.replace(/\\n/g, '\\\\n'));`;
  const Unreferenced = class extends Worker {
    constructor() {
      // Without the process's arguments: --input-type=module would make a module of it.
      super(code, { eval: true, execArgv: [] });
      super.unref();
    }
    override ref(): void {}
  };
  effects.add(override(threadsModule, { Worker: Unreferenced as unknown as WorkerClass }));
  effects.add(override(system, { cpus: () => new Array(2 * threads).fill(cpu) }));
  effects.add(override(URL, { createObjectURL: () => 'steploom:wasm-worker' }));
  return effects.undo;
}
