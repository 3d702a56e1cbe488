import type { HalfPrecision } from '../compute/contract.js';
import { tracked } from '../compute/tracked.js';
import type { WebGPUDevice } from './device.js';
import { isHalf, toFull, toHalf } from './half.js';
import { releaseMemory } from './slabs.js';
import { fitsHalf } from './storage.js';
import { uploader } from './upload.js';

/** Half precision for who does not know the device. */
export function precision(device: WebGPUDevice): HalfPrecision {
  const upload = uploader(device);
  return {
    isHalf: (x) => isHalf(device, x),
    fits: fitsHalf,
    half: (x) => tracked(toHalf(device, x)),
    full: (x) => tracked(toFull(device, x)),
    async store(x) {
      await upload(x);
      const half = tracked(toHalf(device, x));
      // The pool would keep the float32 copy's memory for its length alone.
      const entry = device.entryOf(x);
      releaseMemory(device, entry);
      entry.resource = null;
      device.submit();
      x.dispose();
      return half;
    },
  };
}
