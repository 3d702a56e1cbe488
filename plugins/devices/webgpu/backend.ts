import { afterError, fail } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { installedIn } from '../compute/installed.js';
import { Effects, keepCurrentBackend } from '../compute/undo.js';
import { findAdapter, findGPU } from './adapter.js';
import { MOST_DISPATCHES, WebGPUDevice } from './device.js';
import { type BackendInternals, EXPECTED } from './internals.js';
import { patchBackend } from './patches.js';
import { register } from './register.js';
import { requestDevice } from './request-device.js';

const NAME = 'webgpu';

/**
 * Readies TensorFlow.js's WebGPU backend for training and registers it; if that was done before, gives what was made then. Whatever
 * it changes outside of steploom is listed here. `undo` of its result takes all of it back, in reverse, and with the backend all
 * tensors on it; afterwards it may be installed again. One thing stays: TensorFlow.js's package, once imported, has registered its
 * kernels and flags, and modules are imported once.
 */
export async function install(): Promise<WebGPUDevice> {
  const known = tf.engine().registry[NAME] as object | undefined;
  const installed = known && installedIn<WebGPUDevice>(known);
  if (installed) {
    await makeCurrent();
    return installed;
  }
  const effects = new Effects();
  // Which backend is the current one: the last to be taken back, once ours is gone.
  effects.add(keepCurrentBackend());
  try {
    // Without a WebGPU of the host's: Dawn's names on globalThis, globalThis.navigator and navigator.gpu.
    const gpu = await findGPU(effects);
    const adapter = await findAdapter(gpu);

    // TensorFlow.js's backend and factory of that name. One that somebody has set up stays, for the tensors that it holds.
    const factory = tf.engine().registryFactory[NAME];
    effects.add(() => {
      if (tf.findBackendFactory(NAME)) tf.removeBackend(NAME);
      if (factory) tf.registerBackend(NAME, factory.factory, factory.priority);
    });
    const backend = (known ?? (await makeBackend(adapter, effects))) as BackendInternals;
    check(backend);
    const device = new WebGPUDevice(backend, gpu, adapter);

    // Methods of the backend, and its pool of buffers: see patches.ts for each.
    effects.add(patchBackend(device));

    // The driver goes on after an error, with what was to be written left as it was: a step that did nothing would go unseen.
    effects.add(listen(device));

    // Kernels of TensorFlow.js that are replaced, and ours that it lacks; operations behind steploom's compute contract.
    register(device, effects);

    // How many dispatches TensorFlow.js records before it sends them, where it does so itself.
    const flag = 'WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE';
    const before = tf.env().get(flag);
    tf.env().set(flag, MOST_DISPATCHES);
    effects.add(() => tf.env().set(flag, before));

    if (!known) tf.registerBackend(NAME, () => backend as never, 3);
    await makeCurrent();
    device.undo = effects.undo;
    return device;
  } catch (error) {
    throw await afterError(error, effects.undo);
  }
}

async function makeCurrent(): Promise<void> {
  if (!(await tf.setBackend(NAME))) fail('DEVICE_UNAVAILABLE', NAME, 'TensorFlow.js could not start it', 'See the messages above.');
  await tf.ready();
}

/** A backend on a device with all of the adapter's limits. No factory of that name is registered afterwards. */
async function makeBackend(adapter: GPUAdapter, effects: Effects): Promise<unknown> {
  const { WebGPUBackend } = await import('@tensorflow/tfjs-backend-webgpu');
  // Importing the package registers a factory, which asks for few limits and dies of a null adapter.
  if (tf.findBackendFactory(NAME)) tf.removeBackend(NAME);
  const device = await requestDevice(adapter);
  effects.add(() => device.destroy());
  return new WebGPUBackend(device, adapter.info as never);
}

/** Keeps the first error that the driver reports on the side until what is recorded is sent. */
function listen(device: WebGPUDevice): () => void {
  const gpu = device.backend.device;
  const keep = (event: Event): void => {
    device.failure ??= (event as GPUUncapturedErrorEvent).error;
  };
  gpu.addEventListener?.('uncapturederror', keep);
  return () => gpu.removeEventListener?.('uncapturederror', keep);
}

/** Whether the backend is the one that all of this was written for. */
function check(backend: BackendInternals): void {
  for (const [type, names] of Object.entries(EXPECTED))
    for (const name of names)
      if (typeof backend[name] !== type)
        fail(
          'LIBRARY_DIFFERS',
          'webgpu',
          `the backend of @tensorflow/tfjs-backend-webgpu has no ${type} ${name}`,
          'Install version 4.22 of it and of @tensorflow/tfjs-core.',
        );
}
