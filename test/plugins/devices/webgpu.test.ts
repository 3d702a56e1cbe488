import { expect, test } from 'vitest';
import * as tf from '../../../core/tf.js';
import { tryDevice } from '../../../plugins/devices/choice/candidates.js';
import { silu } from '../../../plugins/devices/compute/activations.js';
import { sumOfSquares } from '../../../plugins/devices/compute/reduce.js';
import { Effects } from '../../../plugins/devices/compute/undo.js';
import { findAdapter, findGPU } from '../../../plugins/devices/webgpu/adapter.js';
import { install } from '../../../plugins/devices/webgpu/backend.js';
import { dispatch } from '../../../plugins/devices/webgpu/dispatch.js';
import { requestDevice } from '../../../plugins/devices/webgpu/request-device.js';
import { webgpu } from '../../../plugins/devices/webgpu.js';
import { relativeGap } from '../../support/devices.js';

/** All that installing changes outside of steploom, by name. */
function surroundings(): Map<string, unknown> {
  const all = new Map<string, unknown>();
  const note = (of: string, values: object) => {
    for (const name of Object.getOwnPropertyNames(values)) if (!/storage$/i.test(name)) all.set(`${of}.${name}`, Reflect.get(values, name));
  };
  note('globalThis', globalThis);
  note('navigator', globalThis.navigator ?? {});
  note('backends', tf.engine().registry);
  for (const [name, { factory }] of Object.entries(tf.engine().registryFactory)) all.set(`factories.${name}`, factory);
  for (const { kernelName, kernelFunc } of tf.getKernelsForBackend('webgpu')) all.set(`kernels.${kernelName}`, kernelFunc);
  all.set('flag', tf.env().get('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE'));
  for (const event of ['unhandledRejection', 'uncaughtException']) all.set(event, process.listenerCount(event));
  return all;
}

/** Names of what differs. */
const changes = (a: Map<string, unknown>, b: Map<string, unknown>): string[] =>
  [...new Set([...a.keys(), ...b.keys()])].filter((name) => !Object.is(a.get(name), b.get(name)) || a.has(name) !== b.has(name)).sort();

/** Some of everything that is patched: an upload, kernels of ours and of TensorFlow.js, a sum, reading back. */
async function compute(): Promise<number[]> {
  const x = tf.tensor1d([1, 2, 3, 4]);
  const tensors = [silu(x), tf.matMul(x.reshape([2, 2]), x.reshape([2, 2])), x.mul(2), sumOfSquares({ x })];
  const values = await Promise.all(tensors.map((tensor) => tensor.data()));
  tf.dispose([x, ...tensors]);
  return values.flatMap((each) => Array.from(each));
}
const expected = [...[1, 2, 3, 4].map((x) => x / (1 + Math.exp(-x))), 7, 10, 15, 22, 2, 4, 6, 8, 30];

// The package's kernels and flags come with its import, and stay; its factory comes only where WebGPU is already there.
const { WebGPUBackend } = await import('@tensorflow/tfjs-backend-webgpu');
await tf.setBackend('cpu');
await compute();

const before = surroundings();
const found = await tryDevice('webgpu');
if ('why' in found) console.log(`not tested here: what installing WebGPU changes (${found.why})`);
const during = surroundings();
if ('report' in found) (await install()).undo();

test('an installation of WebGPU that failed, or was undone, leaves everything as it was', () => {
  expect(changes(before, surroundings())).toEqual([]);
});

test.runIf('report' in found)(
  'installing WebGPU changes what it says it changes, is undone whole, and works again afterwards',
  async () => {
    const changed = changes(before, during).filter((name) => !/^globalThis\.(GPU|WGSL)/.test(name));
    expect(changed.filter((name) => !name.startsWith('kernels.Steploom'))).toEqual([
      'backends.webgpu',
      'factories.webgpu',
      'flag',
      ...(before.get('globalThis.navigator') ? [] : ['globalThis.navigator']),
      ...[
        'Add',
        'BatchMatMul',
        'Bincount',
        'Concat',
        'Conv2D',
        'Conv2DBackpropFilter',
        'Conv2DBackpropInput',
        'CropAndResize',
        'Cumprod',
        'Cumsum',
        'DenseBincount',
        'FusedConv2D',
        'GatherNd',
        'GatherV2',
        'Multiply',
        'ScatterNd',
        'SparseSegmentMean',
        'SparseSegmentSum',
        'SparseToDense',
        'SplitV',
        'TensorScatterUpdate',
        '_FusedMatMul',
      ].map((name) => `kernels.${name}`),
      'navigator.gpu',
    ]);
    for (let round = 0; round < 2; round++) {
      await webgpu().setUp();
      const device = await install();
      const { backend, undo } = device;
      expect(await install()).toBe(device);
      expect(tf.backend()).toBe(backend);
      const methods = Object.getOwnPropertyNames(backend).filter((name) => name in WebGPUBackend.prototype);
      expect(methods.sort()).toEqual([
        'read',
        'readSync',
        'readToGPU',
        'recordAndSubmit',
        'releaseResource',
        'submitQueue',
        'tensorToBinding',
        'uploadToGPU',
      ]);
      expect(relativeGap(await compute(), expected)).toBeLessThan(1e-6);

      undo();
      expect(changes(before, surroundings())).toEqual([]);
      expect(Object.getOwnPropertyNames(backend).filter((name) => name in WebGPUBackend.prototype)).toEqual([]);
      expect(Object.getOwnPropertySymbols(backend)).toEqual([]);
      expect(backend.bufferManager.constructor.name).toBe('BufferManager');
      undo();
      expect(tf.getBackend()).toBe('cpu');
      expect(relativeGap(await compute(), expected)).toBeLessThan(1e-6);
    }
  },
);

test.runIf('report' in found)('the backend that was current before WebGPU is current again', async () => {
  // Of the least priority: TensorFlow.js itself would choose another when a backend goes.
  tf.registerBackend('other', () => Object.create(tf.findBackend('cpu')) as never, 0);
  await tf.setBackend('other');
  const { undo } = await install();
  expect(tf.getBackend()).toBe('webgpu');
  undo();
  expect(tf.getBackend()).toBe('other');
  await tf.setBackend('cpu');
  tf.removeBackend('other');
});

test.runIf('report' in found)('a WebGPU backend that was there before keeps its tensors, and its factory comes back', async () => {
  const effects = new Effects();
  const adapter = await findAdapter(await findGPU(effects));
  const theirs = new WebGPUBackend(await requestDevice(adapter), adapter.info as never);
  const factory = () => theirs as never;
  tf.registerBackend('webgpu', factory);
  await tf.setBackend('webgpu');
  const x = tf.tensor1d([1, 2, 3]).neg();
  await webgpu().setUp();
  expect(tf.backend()).toBe(theirs);
  expect(Array.from(await x.data())).toEqual([-1, -2, -3]);
  expect(relativeGap(await compute(), expected)).toBeLessThan(1e-6);
  x.dispose();
  (await install()).undo();
  expect(tf.findBackendFactory('webgpu')).toBe(factory);
  tf.removeBackend('webgpu');
  effects.undo();
  expect(changes(before, surroundings())).toEqual([]);
});

test.runIf('report' in found)(
  'the driver’s errors end the computation, name the kernel that they are about, and tell when memory ran out',
  async () => {
    await webgpu().setUp();
    const device = await install();
    const x = tf.tensor1d([1, 2]);
    dispatch(device, { name: 'a broken kernel', code: () => 'fn main() {}', tensors: [x], groups: [1] });
    await new Promise((done) => setTimeout(done, 50));
    await expect(compute()).rejects.toThrow(/DEVICE_FAILED.*a broken kernel/s);
    x.dispose();
    device.failure = new GPUOutOfMemoryError('no memory for 2 GiB');
    await expect(compute()).rejects.toThrow(/OUT_OF_MEMORY.*2 GiB/s);
    expect(relativeGap(await compute(), expected)).toBeLessThan(1e-6);
    device.undo();
  },
);

test.runIf('report' in found)('a backend of another version is refused by the name of what it lacks', async () => {
  const { makeUniforms } = WebGPUBackend.prototype as unknown as Record<string, unknown>;
  Object.assign(WebGPUBackend.prototype, { makeUniforms: undefined });
  await expect(install()).rejects.toThrow(/LIBRARY_DIFFERS.*makeUniforms/s);
  Object.assign(WebGPUBackend.prototype, { makeUniforms });
  expect(changes(before, surroundings())).toEqual([]);
});
