import { createRequire } from 'node:module';
import nodeUtil from 'node:util';
import { afterError, fail, messageOf } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { registerOperations } from '../compute/contract.js';
import { installedIn, keepOn } from '../compute/installed.js';
import { Effects, keepCurrentBackend, type Undo } from '../compute/undo.js';
import { adamw } from './adamw.js';
import { codes } from './codes.js';
import { Constants } from './constants.js';
import { knowHalf, precision } from './half.js';
import { currentBackend } from './internals.js';
import { Resources } from './resources.js';

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

/** Sets a variable of the environment; undoing brings back what it was. */
function setVariable(name: string, value: string): Undo {
  const before = process.env[name];
  process.env[name] = value;
  return () => {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  };
}

/**
 * Loads the package, whose import registers the backend `tensorflow`, and makes it the current one; a failure is reported as that of `device`.
 * Whatever it changes outside of steploom is listed here, and taken back by what it returns, or at once where it fails. One thing stays: the
 * library itself, until the process ends.
 *
 * @param gpus The GPUs that the library may see, as CUDA_VISIBLE_DEVICES has them; left as it is where not given.
 */
export async function install(device: string, name: Package, gpus?: string): Promise<Undo> {
  const effects = new Effects();
  effects.add(keepCurrentBackend());
  try {
    // Functions that Node 23 has no more and version 4.22 still calls.
    const util = nodeUtil as unknown as Record<string, unknown>;
    effects.add(setDefault(util, 'isNullOrUndefined', (x: unknown) => x === null || x === undefined));
    effects.add(setDefault(util, 'isArray', Array.isArray));
    // What the library reads from the environment when it loads. Memory as it is needed, not all of the GPU's at once.
    effects.add(setDefault(process.env, 'TF_FORCE_GPU_ALLOW_GROWTH', 'true'));
    effects.add(setDefault(process.env, 'TF_CPP_MIN_LOG_LEVEL', '1'));
    if (gpus !== undefined) effects.add(setVariable('CUDA_VISIBLE_DEVICES', gpus));
    load(device, name);
    if (!(await tf.setBackend('tensorflow'))) fail('DEVICE_UNAVAILABLE', device, 'TensorFlow could not start', 'See the messages above.');
    await tf.ready();
    const installed = installedIn<Undo>(tf.backend());
    if (installed) return installed;
    // Operations behind steploom's compute contract.
    const constants = new Constants(currentBackend());
    effects.add(constants.dispose);
    effects.add(knowHalf(currentBackend(), constants));
    effects.add(
      registerOperations(tf.backend(), { adamw: adamw(new Resources(currentBackend())), codes, precision, padsBeforeConvolution: true }),
    );
    effects.add(keepOn(tf.backend(), effects.undo));
    return effects.undo;
  } catch (error) {
    throw await afterError(error, effects.undo);
  }
}

function load(device: string, name: Package): void {
  const path = `@tensorflow/${name}`;
  try {
    require(path);
  } catch (error) {
    const first = messageOf(error).split('\n')[0];
    const missing = /cannot find module|tfjs_binding|no such file|no package/i.test(first) ? 'its binary is missing: ' : '';
    fail('DEVICE_UNAVAILABLE', device, `${path} is installed but does not load (${missing}${first})`, `${GUIDE}.`, error);
  }
}
