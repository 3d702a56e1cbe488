import { createRequire } from 'node:module';
import nodeUtil from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { DEVICE, type DeviceReport, fail } from '../../core/index.js';

type Package = 'tfjs-node' | 'tfjs-node-gpu';

/** TensorFlow's own library through @tensorflow/tfjs-node or -gpu, optional packages that bring a binary of their own. */
const tensorflow = (name: Package) => ({
  name,
  fills: DEVICE,
  async setUp(): Promise<DeviceReport> {
    const require = createRequire(import.meta.url);
    const path = `@tensorflow/${name}`;
    try {
      require.resolve(`${path}/package.json`);
    } catch {
      fail('DEVICE_UNAVAILABLE', name, `${path} is not installed`, `npm install ${path}.`);
    }
    // Removed in Node 23, still called by version 4.22.
    const util = nodeUtil as unknown as Record<string, unknown>;
    util.isNullOrUndefined ??= (x: unknown) => x === null || x === undefined;
    util.isArray ??= Array.isArray;
    try {
      require(path);
    } catch (error) {
      fail(
        'DEVICE_UNAVAILABLE',
        name,
        `${path} is installed but does not load (${(error as Error).message.split('\n')[0]})`,
        `Run npm rebuild ${path} --build-addon-from-source, or see its README.`,
        error,
      );
    }
    if (!(await tf.setBackend('tensorflow'))) fail('DEVICE_UNAVAILABLE', name, 'TensorFlow could not start', 'See the messages above.');
    await tf.ready();
    const gpu = (tf.backend() as unknown as { isUsingGpuDevice?: boolean }).isUsingGpuDevice === true;
    if (name === 'tfjs-node-gpu' && !gpu)
      fail(
        'DEVICE_UNAVAILABLE',
        name,
        'TensorFlow found no GPU and fell back to the processor',
        'Its log names the library that is missing.',
      );
    return { name, detail: gpu ? 'TensorFlow on a GPU' : 'TensorFlow on the processor' };
  },
});

export const tfjsNode = () => tensorflow('tfjs-node');
export const tfjsNodeGpu = () => tensorflow('tfjs-node-gpu');
