import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';

/** Bytes on their way after which loading waits: what is sent lies in the host's memory, too, until it has arrived. */
const ON_THE_WAY = 128 * 2 ** 20;

/** Sends tensors to the GPU as they are made, so that a model never stands on the host as a whole. */
export function uploader({ backend }: WebGPUDevice): (tensor: TensorInfo) => Promise<void> {
  let sent = 0;
  return async ({ dataId, shape }) => {
    backend.uploadToGPU(dataId);
    sent += 4 * tf.util.sizeFromShape(shape);
    if (sent < ON_THE_WAY) return;
    sent = 0;
    // What was written goes out with the next submission, also of nothing.
    backend.queue.submit([]);
    await backend.queue.onSubmittedWorkDone();
  };
}
