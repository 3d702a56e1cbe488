import type { Tensors } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import type { DeviceOperations } from '../compute/contract.js';
import { unshared } from '../compute/memory.js';
import type { WasmDevice } from './device.js';
import { tableOf } from './update.js';

/** A program's sum. It stays on one thread: its last digits depend on the order. */
export const summer =
  (device: WasmDevice): DeviceOperations['sum'] =>
  (program, list, factors) =>
    tf.scalar(device.programs.get(program).run(...tableOf(device, program, list, factors).args));

/** Adds up tensors over ranks in the heap itself, without a copy. Nothing else computes meanwhile, so that nothing moves. */
export const reducer =
  (device: WasmDevice): DeviceOperations['reducer'] =>
  (collective, options) => ({
    offer: () => undefined,
    async reduce(tensors, numbers) {
      const out: Tensors = {};
      for (const [path, tensor] of Object.entries(tensors)) out[path] = unshared(tensor);
      const views = Object.values(out).map((tensor) => device.view(tensor));
      await collective.allReduce(options.half ? views : [numbers, ...views], options);
      if (options.half) await collective.allReduce([numbers]);
      return out;
    },
    dispose: () => undefined,
  });
