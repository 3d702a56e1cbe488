import { createRequire } from 'node:module';
import nodeUtil from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { fail } from '../../../core/index.js';
import { registerOperations } from '../compute/contract.js';
import { Effects, type Undo } from '../compute/undo.js';
import { codes } from './codes.js';
import { adamw } from './update.js';

export type Package = 'tfjs-node' | 'tfjs-node-gpu';

export const GUIDE = 'docs/tfjs-node-gpu.md shows how to get it working';

const require = createRequire(import.meta.url);

export const isInstalled = (name: Package): boolean => {
  try {
    require.resolve(`@tensorflow/${name}/package.json`);
    return true;
  } catch {
    return false;
  }
};

/** Sets a property that is absent; returns what takes it away again. */
function setDefault(target: Record<string, unknown>, name: string, value: unknown): Undo {
  if (target[name] !== undefined) return () => undefined;
  target[name] = value;
  return () => void delete target[name];
}

/**
 * Loads the package, whose import registers the backend `tensorflow`, and makes it the current one; what is wrong is said by name. Global
 * effects: `util.isNullOrUndefined` and `util.isArray`, which Node 23 has no more and version 4.22 still calls; the environment variables
 * TF_FORCE_GPU_ALLOW_GROWTH and TF_CPP_MIN_LOG_LEVEL, which the library reads when it loads; an entry for `tensorflow` among the operations of
 * devices. The library itself stays loaded until the process ends.
 *
 * @returns what takes these effects back.
 */
export async function install(device: string, name: Package): Promise<Undo> {
  const effects = new Effects();
  const util = nodeUtil as unknown as Record<string, unknown>;
  effects.add(setDefault(util, 'isNullOrUndefined', (x: unknown) => x === null || x === undefined));
  effects.add(setDefault(util, 'isArray', Array.isArray));
  // Memory as it is needed, not all of the GPU's at once.
  effects.add(setDefault(process.env, 'TF_FORCE_GPU_ALLOW_GROWTH', 'true'));
  effects.add(setDefault(process.env, 'TF_CPP_MIN_LOG_LEVEL', '1'));
  const path = `@tensorflow/${name}`;
  try {
    require(path);
  } catch (error) {
    effects.undo();
    const first = (error as Error).message.split('\n')[0];
    const missing = /cannot find module|tfjs_binding|no such file|no package/i.test(first) ? 'its binary is missing: ' : '';
    fail('DEVICE_UNAVAILABLE', device, `${path} is installed but does not load (${missing}${first})`, `${GUIDE}.`, error);
  }
  if (!(await tf.setBackend('tensorflow'))) fail('DEVICE_UNAVAILABLE', device, 'TensorFlow could not start', 'See the messages above.');
  await tf.ready();
  effects.add(registerOperations('tensorflow', { adamw, codes, padsBeforeConvolution: true }));
  return effects.undo;
}
