import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import * as tf from '../../../../core/tf.js';
import { installedIn } from '../../../../plugins/devices/compute/installed.js';
import type { CompileWork } from '../../../../plugins/devices/webgpu/compile-worker.js';
import { compileAll } from '../../../../plugins/devices/webgpu/compiled-ahead.js';
import type { WebGPUDevice } from '../../../../plugins/devices/webgpu/device.js';
import { testDevices, use } from '../../../support/devices.js';

const shader = (value: number) => `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(1) fn main() { x[0] = ${value}f; }`;

if ((await testDevices()).includes('webgpu')) {
  test('what a graph needs is compiled, each shader under its name', async () => {
    await use('webgpu');
    const device = installedIn<WebGPUDevice>(tf.backend()) as WebGPUDevice;
    const shaders = Array.from({ length: 10 }, (_, i) => ({ key: `compiled ahead ${i}`, code: shader(i) }));
    compileAll(device, shaders);
    expect(shaders.map(({ key }) => device.pipelines.get(key)?.label)).toEqual(shaders.map(({ key }) => key));
  });

  test('threads share shaders, and each says that there are no more, though one has a fault', async () => {
    const codes = [shader(1), 'nothing of WGSL', shader(2), shader(3)];
    const work: CompileWork = { codes, counts: new Int32Array(new SharedArrayBuffer(8)) };
    const file = new URL('../../../../dist/plugins/devices/webgpu/compile-worker.js', import.meta.url);
    const threads = [0, 1].map(() => new Worker(file, { workerData: work, stderr: true }));
    await Promise.all(threads.map((thread) => once(thread, 'exit')));
    // Each takes a number past the last.
    expect([...work.counts]).toEqual([codes.length + 2, 2]);
  });
}
