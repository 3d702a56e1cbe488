import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import Module from 'node:module';
import os from 'node:os';
import { join } from 'node:path';
import nodeUtil from 'node:util';
import threads from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as tf from '../../../core/tf.js';
import { operation, registerOperations } from '../../../plugins/devices/compute/contract.js';
import { install as installCPU } from '../../../plugins/devices/cpu/backend.js';
import { install as installTensorFlow, isInstalled } from '../../../plugins/devices/tensorflow/backend.js';
import { install as installWasm } from '../../../plugins/devices/wasm/backend.js';

/** Kernels of a backend by name. */
const kernels = (backend: string) =>
  new Map(tf.getKernelsForBackend(backend).map(({ kernelName, kernelFunc }) => [kernelName, kernelFunc]));
const listeners = () => ['uncaughtException', 'unhandledRejection'].map((event) => process.listeners(event as 'uncaughtException').length);

test('the cpu backend: an operation behind the contract, until it is undone', async () => {
  await tf.setBackend('cpu');
  const before = kernels('cpu');
  const undo = await installCPU();
  expect(operation('adamw8bit')).toBeDefined();
  expect(kernels('cpu')).toEqual(before);
  undo();
  expect(operation('adamw8bit')).toBeUndefined();
});

test('operations registered over others give way to them again', async () => {
  await tf.setBackend('cpu');
  const undo = await installCPU();
  const first = operation('adamw8bit');
  const undoSecond = registerOperations(tf.backend(), {});
  expect(operation('adamw8bit')).toBeUndefined();
  undoSecond();
  expect(operation('adamw8bit')).toBe(first);
  undo();
});

test.skipIf(isInstalled('tfjs-node'))('TensorFlow: where its package does not load, environment and util are as before', async () => {
  const now = () => ({ environment: { ...process.env }, util: { ...nodeUtil } });
  const before = now();
  await expect(installTensorFlow('tfjs-node', 'tfjs-node', '1')).rejects.toThrow(/DEVICE_UNAVAILABLE \(tfjs-node\)/);
  expect(now()).toEqual(before);
});

test('the wasm backend: every kernel, global, flag and listener is as before once it is undone, and it can be installed again', async () => {
  // The package registers its kernels when it is imported.
  await import('@tensorflow/tfjs-backend-wasm');
  await tf.setBackend('cpu');
  const before = {
    kernels: kernels('wasm'),
    worker: threads.Worker,
    cpus: os.cpus,
    createObjectURL: URL.createObjectURL,
    listeners: listeners(),
    flag: await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT'),
  };
  const now = async () => ({
    kernels: kernels('wasm'),
    worker: threads.Worker,
    cpus: os.cpus,
    createObjectURL: URL.createObjectURL,
    listeners: listeners(),
    flag: await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT'),
  });
  for (let round = 0; round < 2; round++) {
    const device = await installWasm(2);
    expect(tf.getBackend()).toBe('wasm');
    expect(await installWasm(2)).toBe(device);
    // What is patched while it starts is back at once; the loader leaves no listener behind.
    const { kernels: ours, flag, ...rest } = await now();
    const { kernels: theirs, flag: _, ...former } = before;
    expect(rest).toEqual(former);
    expect(flag).toBe(true);
    expect(ours.get('BatchMatMul')).not.toBe(theirs.get('BatchMatMul'));
    expect(ours.has('SteploomGroupNorm')).toBe(true);
    expect(operation('update')).toBeDefined();
    const product = tf.tidy(() => tf.matMul(tf.ones([3, 4]), tf.ones([4, 5])));
    expect(Array.from(await product.data())).toEqual(new Array(15).fill(4));
    product.dispose();
    device.undo();
    expect(tf.getBackend()).toBe('cpu');
    expect(await now()).toEqual(before);
  }
});

/** What each device's installation is undone by. */
const INSTALLATIONS: Readonly<Record<string, () => Promise<() => void>>> = {
  cpu: installCPU,
  wasm: async () => (await installWasm(1)).undo,
  tensorflow: () => installTensorFlow('tfjs-node', 'tfjs-node'),
};

describe('the backend that was current before is current again', () => {
  let folder: string;
  const readPaths = (): void => (Module as unknown as { _initPaths(): void })._initPaths();
  const path = process.env.NODE_PATH;
  // TensorFlow's package is not installed: one that computes with the cpu backend stands where Node looks last.
  beforeAll(async () => {
    folder = await mkdtemp(join(os.tmpdir(), 'steploom-tensorflow-'));
    const place = join(folder, '@tensorflow', 'tfjs-node');
    await mkdir(place, { recursive: true });
    await writeFile(join(place, 'package.json'), '{"name":"@tensorflow/tfjs-node","main":"index.js"}');
    await writeFile(join(place, 'index.js'), 'globalThis.registerTensorFlow();');
    Object.assign(globalThis, {
      registerTensorFlow: () => tf.registerBackend('tensorflow', () => Object.create(tf.findBackend('cpu')) as never),
    });
  });
  afterAll(async () => {
    // What Node remembers of the package would be found without its folder.
    const { _cache, _pathCache } = Module as unknown as Record<'_cache' | '_pathCache', Record<string, unknown>>;
    for (const [key, found] of Object.entries(_pathCache)) if (String(found).startsWith(folder)) delete _pathCache[key];
    for (const key of Object.keys(_cache)) if (key.startsWith(folder)) delete _cache[key];
    Reflect.deleteProperty(globalThis, 'registerTensorFlow');
    tf.removeBackend('tensorflow');
    tf.removeBackend('other');
    await rm(folder, { recursive: true });
  });

  test.each(Object.keys(INSTALLATIONS))('%s', async (name) => {
    if (name === 'tensorflow') {
      process.env.NODE_PATH = folder;
      readPaths();
    }
    try {
      // Of the least priority: TensorFlow.js itself would choose another when a backend goes.
      tf.registerBackend('other', () => Object.create(tf.findBackend('cpu')) as never, 0);
      await tf.setBackend('other');
      const undo = await INSTALLATIONS[name]();
      expect(tf.getBackend()).toBe(name);
      undo();
      expect(tf.getBackend()).toBe('other');
    } finally {
      if (path === undefined) delete process.env.NODE_PATH;
      else process.env.NODE_PATH = path;
      readPaths();
      await tf.setBackend('cpu');
    }
  });
});
