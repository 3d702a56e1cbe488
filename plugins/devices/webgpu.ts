import * as tf from '@tensorflow/tfjs';
import { DEVICE, type DeviceReport, fail } from '../../core/index.js';
import { BATCH, lighten, type WebGPUBackendParts } from './webgpu/backend.js';
import { registerWebGPUKernels } from './webgpu/register.js';

/** Dawn's handle lives as long as the process: a device whose instance is collected is lost. */
let instance: unknown;

/** What of the adapter's limits is asked for; a device gets the smallest otherwise. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupsPerDimension',
] as const;

/** navigator.gpu where there is one, else Dawn from the npm package `webgpu`. */
async function findGPU(): Promise<GPU> {
  const here = (globalThis.navigator as Navigator | undefined)?.gpu;
  if (here) return here;
  const name = 'webgpu';
  let dawn: { create(flags: string[]): GPU; globals: object };
  try {
    dawn = await import(name);
  } catch (error) {
    return fail(
      'DEVICE_UNAVAILABLE',
      'webgpu',
      `the package webgpu cannot be loaded (${(error as Error).message.split('\n')[0]})`,
      'npm install webgpu.',
      error,
    );
  }
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create([]);
  instance = gpu;
  // TensorFlow.js looks for navigator.gpu; Node 20 has no navigator, later ones have one that cannot be extended by assignment.
  const navigator = globalThis.navigator ?? {};
  Object.defineProperty(navigator, 'gpu', { value: gpu, configurable: true });
  if (!globalThis.navigator) Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  return gpu;
}

/** WebGPU: the browser's own, or Dawn in Node (Vulkan, Metal or Direct3D 12). */
export const webgpu = () => ({
  name: 'webgpu',
  fills: DEVICE,
  upload({ dataId }: tf.Tensor): void {
    const backend = tf.backend() as unknown as WebGPUBackendParts;
    const data = backend.tensorMap.get(dataId);
    const { values } = data;
    backend.uploadToGPU(dataId);
    // Kept for whoever looks at a batch: reading without waiting is not possible there.
    data.values = values;
  },
  async setUp(): Promise<DeviceReport> {
    const gpu = await findGPU();
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter)
      return fail(
        'DEVICE_UNAVAILABLE',
        'webgpu',
        'no adapter was found',
        'Install a Vulkan, Metal or Direct3D 12 driver (Debian: libvulkan1 and the vendor’s).',
      );
    const { info } = adapter;
    const detail = [info?.vendor, info?.description || info?.device || info?.architecture].filter(Boolean).join(' ') || 'unnamed adapter';
    if (!('webgpu' in tf.engine().registry)) {
      const { WebGPUBackend } = await import('@tensorflow/tfjs-backend-webgpu');
      // Importing the package registers its own factory, which asks for few limits and dies of a null adapter.
      tf.removeBackend('webgpu');
      const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
      const device = await adapter.requestDevice({
        requiredLimits,
        requiredFeatures: adapter.features.has('timestamp-query') ? ['timestamp-query'] : [],
      });
      const backend = new WebGPUBackend(device, info as never);
      lighten(backend as unknown as WebGPUBackendParts);
      tf.registerBackend('webgpu', () => backend as never, 3);
    }
    registerWebGPUKernels();
    tf.env().set('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE', BATCH);
    if (!(await tf.setBackend('webgpu')))
      fail('DEVICE_UNAVAILABLE', 'webgpu', 'TensorFlow.js could not start it', 'See the messages above.');
    await tf.ready();
    void instance;
    return { name: 'webgpu', detail, memory: `buffers up to ${(adapter.limits.maxBufferSize / 2 ** 30).toFixed(1)} GiB` };
  },
});
