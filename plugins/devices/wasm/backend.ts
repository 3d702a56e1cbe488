import { createRequire } from 'node:module';
import type os from 'node:os';
import * as tf from '@tensorflow/tfjs';
import { afterError, fail, messageOf } from '../../../core/index.js';
import { installedIn } from '../compute/installed.js';
import { Effects, keepCurrentBackend, override, type Undo } from '../compute/undo.js';
import { WasmDevice } from './device.js';
import { guardHeap } from './heap.js';
import type { BackendInternals } from './internals.js';
import { register } from './register.js';

const NAME = 'wasm';
const require = createRequire(import.meta.url);

/**
 * Starts TensorFlow.js's wasm backend with so many threads and readies it for training; where that was done before, gives what was made then.
 * Whatever it changes outside of steploom is listed here. `undo` of its result takes all of it back, and with the backend all tensors on it; afterwards it
 * may be installed again. What stays: TensorFlow.js's package, once imported, has registered its factory, kernels and flags.
 */
export async function install(threads: number): Promise<WasmDevice> {
  const known = tf.engine().registry[NAME] as object | undefined;
  const installed = known && installedIn<WasmDevice>(known);
  if (installed) {
    await tf.setBackend(NAME);
    return installed;
  }
  const effects = new Effects();
  const backend = await import('@tensorflow/tfjs-backend-wasm');
  // Which backend is the current one: the last to be taken back, once ours is gone.
  effects.add(keepCurrentBackend());
  try {
    if (!known) {
      // How many threads the package starts, and the flag that lets it. -1 is what it begins with: as many as it finds right; what somebody set since cannot be asked.
      const flag = 'WASM_HAS_MULTITHREAD_SUPPORT';
      const before = await tf.env().getAsync(flag);
      tf.env().set(flag, threads > 1);
      effects.add(() => tf.env().set(flag, before));
      backend.setThreadsCount(threads);
      effects.add(() => backend.setThreadsCount(-1));
      // While it starts: Worker, os.cpus and URL.createObjectURL; and listeners of the process that it leaves behind.
      const undoStart = duringStart(threads);
      const factory = tf.engine().registryFactory[NAME];
      effects.add(() => {
        // Only removing the factory makes TensorFlow.js forget the backend, whose disposal takes everybody's listeners away, too.
        const restore = keepListeners();
        tf.removeBackend(NAME);
        restore();
        tf.registerBackend(NAME, factory.factory, factory.priority);
      });
      try {
        await tf.setBackend(NAME);
        await tf.ready();
      } catch (error) {
        fail(
          'DEVICE_UNAVAILABLE',
          'wasm',
          `TensorFlow.js could not start it: ${messageOf(error)}`,
          'Reinstall @tensorflow/tfjs-backend-wasm.',
          error,
        );
      } finally {
        undoStart();
      }
    } else await tf.setBackend(NAME);
    const device = new WasmDevice(tf.backend() as unknown as BackendInternals, backend.getThreadsCount());
    effects.add(() => device.dispose());
    register(device, effects);
    // The module's malloc, which TensorFlow.js does not ask whether it gave anything.
    effects.add(guardHeap(device.backend.wasm));
    device.undo = effects.undo;
    return device;
  } catch (error) {
    throw await afterError(error, effects.undo);
  }
}

/** Remembers who listens for errors that nobody caught; undoing removes those added since, and adds those removed since. */
function keepListeners(): Undo {
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
function duringStart(threads: number): Undo {
  const effects = new Effects();
  effects.add(keepListeners());
  if (threads === 1) return effects.undo;
  const threadsModule = require('node:worker_threads') as { Worker: WorkerClass };
  const system = require('node:os') as typeof os;
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
