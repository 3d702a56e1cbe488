import type { Worker } from 'node:worker_threads';
import { afterEach, expect, test, vi } from 'vitest';
import * as tf from '../../../../core/tf.js';
import { installedIn } from '../../../../plugins/devices/compute/installed.js';
import { Effects, override } from '../../../../plugins/devices/compute/undo.js';
import { Capturer } from '../../../../plugins/devices/webgpu/capturer.js';
import { CompileThreads } from '../../../../plugins/devices/webgpu/compile-threads.js';
import { isOver, newState, type Work } from '../../../../plugins/devices/webgpu/compile-work.js';
import { CompiledAhead } from '../../../../plugins/devices/webgpu/compiled-ahead.js';
import type { WebGPUDevice } from '../../../../plugins/devices/webgpu/device.js';
import { testDevices, use } from '../../../support/devices.js';

const shader = (value: number) => `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(1) fn main() { x[0] = ${value}f; }`;
const named = (what: string, count = 10) => Array.from({ length: count }, (_, i) => ({ key: `${what} ${i}`, code: () => shader(i) }));

const effects = new Effects();
afterEach(effects.undo);

/** Has threads start with the file that is built, or with other code, as many as there seem to be processors; gives those that started. */
function threadsStart({ instead, processors = 3 }: { instead?: string; processors?: number } = {}): Worker[] {
  const file = new URL('../../../../dist/plugins/devices/webgpu/compile-worker.js', import.meta.url);
  const started: Worker[] = [];
  const threads = process.getBuiltinModule('node:worker_threads');
  class Redirected extends threads.Worker {
    constructor(_: URL, options: object) {
      super(instead ?? file, { ...options, eval: instead !== undefined });
      started.push(this);
    }
  }
  effects.add(override<object>(threads, { Worker: Redirected }));
  effects.add(override<object>(process.getBuiltinModule('node:fs'), { existsSync: () => true }));
  effects.add(override<object>(process.getBuiltinModule('node:os'), { availableParallelism: () => processors }));
  return started;
}

/** The device as though NVIDIA's driver took long to compile what it is asked for first. */
async function coldDevice(vendor = 'nvidia'): Promise<WebGPUDevice> {
  await use('webgpu');
  const device = installedIn<WebGPUDevice>(tf.backend()) as WebGPUDevice;
  effects.add(override<object>(device, { adapter: { info: { vendor } } }));
  const now = vi.spyOn(performance, 'now').mockReturnValueOnce(0).mockReturnValueOnce(1000);
  effects.add(() => now.mockRestore());
  return device;
}

/** To be called while nothing of them can have been heard. */
const allEnd = (threads: readonly Worker[]) => Promise.all(threads.map((thread) => new Promise((end) => thread.once('exit', end))));

if ((await testDevices()).includes('webgpu')) {
  test('threads share the shaders that they are given, though one has a fault', async () => {
    const started = threadsStart();
    const works: Work[] = [shader(1), 'nothing of WGSL', shader(2), shader(3)].map((code) => ({ code, state: newState() }));
    const threads = new CompileThreads(2);
    for (const work of works) threads.add(work);
    const end = allEnd(started);
    threads.end();
    expect(works.map(isOver)).toEqual([true, true, true, true]);
    await end;
    expect(started.length).toBe(2);
  });

  test('what a graph needs is compiled, each shader once and under its name, with threads where the driver is slow', async () => {
    const device = await coldDevice();
    const started = threadsStart();
    const shaders = named('compiled ahead');
    const compiled = vi.spyOn(device.backend.device, 'createComputePipeline');
    effects.add(() => compiled.mockRestore());
    const ahead = new CompiledAhead(device);
    for (const { key, code } of [...shaders, ...shaders.slice(1)]) ahead.get(key, code);
    expect(started.length).toBe(3);
    const end = allEnd(started);
    ahead.finish();
    expect(shaders.map(({ key }) => device.pipelines.get(key)?.label)).toEqual(shaders.map(({ key }) => key));
    expect(compiled).toHaveBeenCalledTimes(shaders.length);
    await end;
  });

  test.each([
    ['few shaders', 'nvidia', 3, 8],
    ["another vendor's driver", 'mesa', 3, 10],
    ['two processors', 'nvidia', 2, 10],
  ])('no thread is started for %s', async (what, vendor, processors, count) => {
    const device = await coldDevice(vendor);
    const started = threadsStart({ processors });
    const shaders = named(`for ${what}`, count);
    const ahead = new CompiledAhead(device);
    for (const { key, code } of shaders) ahead.get(key, code);
    ahead.finish();
    expect(shaders.map(({ key }) => device.pipelines.get(key)?.label)).toEqual(shaders.map(({ key }) => key));
    expect(started).toEqual([]);
  });

  test('what threads have begun and do not finish is done without them', async () => {
    const device = await coldDevice();
    const started = threadsStart({
      instead: `require('node:worker_threads').parentPort.once('message', ({ state }) => {
        Atomics.store(state, 0, 1);
        throw new Error('out of memory');
      })`,
    });
    const shaders = named('of threads that die');
    const ahead = new CompiledAhead(device);
    for (const { key, code } of shaders) ahead.get(key, code);
    await allEnd(started);
    // A minute goes by.
    const wait = vi.spyOn(Atomics, 'wait').mockReturnValue('timed-out');
    effects.add(() => wait.mockRestore());
    ahead.finish();
    expect(wait).toHaveBeenCalled();
    expect(shaders.map(({ key }) => device.pipelines.get(key)?.label)).toEqual(shaders.map(({ key }) => key));
  });

  test('a capture that is refused leaves no thread, and compiles no more', async () => {
    const device = await coldDevice();
    const started = threadsStart();
    const shaders = named('of a refused graph', 100);
    const x = tf.zeros([2]);
    let end: Promise<unknown> | undefined;
    const forward = ([input]: readonly tf.Tensor[]) => {
      for (const { key, code } of shaders) device.capture?.shaders.get(key, code);
      end = allEnd(started);
      return tf.scalar(input.dataSync()[0]);
    };
    expect(() => new Capturer(device).capture([x], {}, { forward, backward: () => [] })).toThrow(/reads a tensor/);
    expect(started.length).toBe(3);
    await end;
    expect(shaders.filter(({ key }) => device.pipelines.has(key)).length).toBe(1);
    x.dispose();
  });
}
