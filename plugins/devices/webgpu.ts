import * as tf from '@tensorflow/tfjs';
import { DEVICE, type DeviceReport, fail } from '../../core/index.js';
import { describeAdapter } from './webgpu/adapter.js';
import { install } from './webgpu/backend.js';
import { deviceOf } from './webgpu/device.js';

/** WebGPU: the browser's, or Dawn in Node (Vulkan, Metal or Direct3D 12). */
export const webgpu = () => ({
  name: 'webgpu',
  fills: DEVICE,
  upload({ dataId }: tf.Tensor): void {
    const { backend } = deviceOf(tf.backend());
    const entry = backend.tensorMap.get(dataId);
    const { values } = entry;
    backend.uploadToGPU(dataId);
    // Kept for whoever looks at a batch: reading without waiting is not possible there.
    entry.values = values;
  },
  async setUp(): Promise<DeviceReport> {
    const { adapter } = await install();
    if (!(await tf.setBackend('webgpu')))
      fail('DEVICE_UNAVAILABLE', 'webgpu', 'TensorFlow.js could not start it', 'See the messages above.');
    await tf.ready();
    return {
      name: 'webgpu',
      detail: describeAdapter(adapter),
      memory: `buffers up to ${(adapter.limits.maxBufferSize / 2 ** 30).toFixed(1)} GiB`,
    };
  },
});
