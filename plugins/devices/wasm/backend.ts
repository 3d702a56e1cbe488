import { duringStart, keepListeners } from '#wasm-start';
import { afterError, fail, messageOf } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { installedIn } from '../compute/installed.js';
import { Effects, keepCurrentBackend } from '../compute/undo.js';
import { WasmDevice } from './device.js';
import { guardHeap } from './heap.js';
import type { BackendInternals } from './internals.js';
import { register } from './register.js';

const NAME = 'wasm';

/**
 * Starts TensorFlow.js's wasm backend with so many threads and readies it for training; where that was done before, gives what was made then.
 * Whatever it changes outside of steploom is listed here. `undo` of its result takes all of it back, and with the backend all tensors on it; afterwards it
 * may be installed again. In a browser `paths` says where the package's .wasm files are. What stays: TensorFlow.js's package, once imported, has registered its factory, kernels and flags.
 */
export async function install(threads: number, paths?: string): Promise<WasmDevice> {
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
      if (paths !== undefined) backend.setWasmPaths(paths);
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
    effects.add(device.kept.watch());
    // The module's malloc, which TensorFlow.js does not ask whether it gave anything.
    effects.add(guardHeap(device.backend.wasm));
    device.undo = effects.undo;
    return device;
  } catch (error) {
    throw await afterError(error, effects.undo);
  }
}
