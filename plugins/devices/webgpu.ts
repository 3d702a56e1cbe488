import { DEVICE, type DeviceReport } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { deviceOf } from './compute/installed.js';
import { describeAdapter } from './webgpu/adapter.js';
import { install } from './webgpu/backend.js';
import type { WebGPUDevice } from './webgpu/device.js';

/** WebGPU: the browser's, or Dawn in Node (Vulkan, Metal or Direct3D 12). */
export const webgpu = () => ({
  name: 'webgpu',
  fills: DEVICE,
  upload(tensor: tf.Tensor): void {
    deviceOf<WebGPUDevice>(tf.backend()).upload(tensor);
  },
  release: (): void => deviceOf<WebGPUDevice>(tf.backend()).buffers.trim(),
  async setUp(): Promise<DeviceReport> {
    const { adapter, backend } = await install();
    const { maxBufferSize, maxStorageBufferBindingSize } = backend.device.limits;
    return {
      name: 'webgpu',
      detail: describeAdapter(adapter),
      limits: { tensorBytes: Math.min(maxBufferSize, maxStorageBufferBindingSize) },
      memory: `buffers up to ${(adapter.limits.maxBufferSize / 2 ** 30).toFixed(1)} GiB`,
    };
  },
});
