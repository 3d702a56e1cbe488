// A thread that compiles shaders on a device of its own: see compiled-ahead.ts. It ends when nobody has a shader left to begin.
import { workerData } from 'node:worker_threads';
import { DAWN_OPTIONS, requestAdapter, requestDevice } from './request-device.js';

/** What threads share. */
export interface CompileWork {
  readonly codes: readonly string[];
  /** How many shaders somebody has begun, and how many threads have nothing more to do. */
  readonly counts: Int32Array;
}

const { codes, counts } = workerData as CompileWork;

async function work(): Promise<void> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const gpu = create([...DAWN_OPTIONS]);
  const adapter = await requestAdapter(gpu);
  if (!adapter) return;
  const device = await requestDevice(adapter);
  for (let at = Atomics.add(counts, 0, 1); at < codes.length; at = Atomics.add(counts, 0, 1)) {
    const module = device.createShaderModule({ code: codes[at] });
    device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  }
  device.destroy();
  // Dawn's handles must live as long as what they made.
  Object.assign(globalThis, { kept: [gpu, adapter, device] });
}

try {
  await work();
} finally {
  Atomics.add(counts, 1, 1);
  Atomics.notify(counts, 1);
}
