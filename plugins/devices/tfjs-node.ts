import { DEVICE, type DeviceReport, fail } from '../../core/index.js';
import { GUIDE, install, isInstalled } from './tensorflow/backend.js';
import { gpuMemory, libraryVersion, mainMemory } from './tensorflow/facts.js';
import { currentBackend } from './tensorflow/internals.js';

/** TensorFlow's library on the processor, through the optional package @tensorflow/tfjs-node, or -gpu where only that is there. */
export const tfjsNode = () => ({
  name: 'tfjs-node',
  fills: DEVICE,
  async setUp(): Promise<DeviceReport> {
    const name = (['tfjs-node', 'tfjs-node-gpu'] as const).find(isInstalled);
    if (!name)
      return fail(
        'DEVICE_UNAVAILABLE',
        'tfjs-node',
        '@tensorflow/tfjs-node is not installed',
        `npm install @tensorflow/tfjs-node; ${GUIDE}.`,
      );
    await install('tfjs-node', name);
    const gpu = currentBackend().isUsingGpuDevice === true;
    return {
      name: 'tfjs-node',
      detail: `TensorFlow${libraryVersion()} on ${gpu ? 'a GPU' : 'the processor'}`,
      memory: gpu ? gpuMemory() : mainMemory(),
    };
  },
});
