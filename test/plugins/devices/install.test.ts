import os from 'node:os';
import nodeUtil from 'node:util';
import threads from 'node:worker_threads';
import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
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

test('the backend that was current before is current again', async () => {
  tf.registerBackend('other', () => tf.findBackend('cpu'));
  await tf.setBackend('other');
  const undo = await installCPU();
  expect(tf.getBackend()).toBe('cpu');
  undo();
  expect(tf.getBackend()).toBe('other');
  await tf.setBackend('cpu');
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
