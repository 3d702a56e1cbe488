import { DEVICE, type DeviceReport, type Rehearsed } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { deviceOf } from './compute/installed.js';
import { describeAdapter } from './webgpu/adapter.js';
import { install } from './webgpu/backend.js';
import type { WebGPUDevice } from './webgpu/device.js';
import { gpuMemory } from './webgpu/gpu-memory.js';
import { rehearse } from './webgpu/rehearsal.js';

/** WebGPU: the browser's, or Dawn in Node (Vulkan, Metal or Direct3D 12). */
export const webgpu = () => ({
  name: 'webgpu',
  fills: DEVICE,
  upload(tensor: tf.Tensor): void {
    deviceOf<WebGPUDevice>(tf.backend()).upload(tensor);
  },
  rehearse: (work: () => void, leaving: readonly tf.Tensor[]): Rehearsed => rehearse(deviceOf<WebGPUDevice>(tf.backend()), work, leaving),
  release: (): void => deviceOf<WebGPUDevice>(tf.backend()).buffers.trim(),
  async setUp(): Promise<DeviceReport> {
    const { adapter, backend } = await install();
    const { maxBufferSize, maxStorageBufferBindingSize } = backend.device.limits;
    const bytes = gpuMemory(adapter);
    return {
      name: 'webgpu',
      detail: describeAdapter(adapter),
      limits: { tensorBytes: Math.min(maxBufferSize, maxStorageBufferBindingSize), ...(bytes === undefined ? {} : { bytes }) },
      memory: `${bytes === undefined ? '' : `${(bytes / 2 ** 30).toFixed(1)} GiB, `}buffers up to ${(adapter.limits.maxBufferSize / 2 ** 30).toFixed(1)} GiB`,
    };
  },
});
