import type { TensorInfo } from '../../../core/tf.js';
import type { WebGPUDevice } from './device.js';
import { bindingOf } from './slabs.js';

/** Bytes that are sent before loading waits for the device: what is on its way lies in the host's memory, too. */
const ON_THE_WAY = 64 * 2 ** 20;

/** Sends tensors to the GPU as they are made, large ones in pieces, so that a model never stands on the host as a whole. */
export function uploader(device: WebGPUDevice): (tensor: TensorInfo) => Promise<void> {
  const { backend } = device;
  let sent = 0;
  return async (tensor) => {
    const entry = device.entryOf(tensor);
    const { values } = entry;
    if (entry.resource || !(values instanceof Float32Array)) return backend.uploadToGPU(tensor.dataId);
    // Without values it only makes the buffer.
    entry.values = null;
    backend.uploadToGPU(tensor.dataId);
    const { queue } = backend;
    const { buffer } = bindingOf(entry);
    for (let from = 0; from < values.byteLength; from += ON_THE_WAY) {
      const bytes = Math.min(ON_THE_WAY, values.byteLength - from);
      queue.writeBuffer(buffer, from, values.buffer as ArrayBuffer, values.byteOffset + from, bytes);
      sent += bytes;
      if (sent < ON_THE_WAY) continue;
      sent = 0;
      // What was written goes out with the next submission, also of nothing.
      queue.submit([]);
      await queue.onSubmittedWorkDone();
    }
  };
}
