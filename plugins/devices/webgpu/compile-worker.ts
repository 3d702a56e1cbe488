// A thread that compiles shaders on a device of its own: see compiled-ahead.ts. It ends when no more come and all that did are begun.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { announce, begin, CLOSED, ENDED, HAPPENED, isFree, setOver, type Work } from './compile-work.js';
import { DAWN_OPTIONS, requestAdapter, requestDevice } from './request-device.js';

const port = parentPort as MessagePort;
const signs = workerData as Int32Array;

async function ownDevice(): Promise<GPUDevice | null> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const gpu = create([...DAWN_OPTIONS]);
  const adapter = await requestAdapter(gpu);
  if (!adapter) return null;
  const device = await requestDevice(adapter);
  // The main thread's device tells of faults of shaders.
  device.pushErrorScope('validation');
  // Dawn's handles must live as long as what they made.
  Object.assign(globalThis, { kept: [gpu, adapter, device] });
  return device;
}

/** The longest texts first: they take longest, and all others fit in beside them. */
function compile(device: GPUDevice): void {
  const known: Work[] = [];
  for (;;) {
    const happened = Atomics.load(signs, HAPPENED);
    const isClosed = Atomics.load(signs, CLOSED) > 0;
    for (let sent = receiveMessageOnPort(port); sent; sent = receiveMessageOnPort(port)) known.push(sent.message as Work);
    const [longest] = known.filter(isFree).sort((a, b) => b.code.length - a.code.length);
    if (!longest && isClosed) return;
    if (!longest) Atomics.wait(signs, HAPPENED, happened);
    else if (begin(longest))
      try {
        const module = device.createShaderModule({ code: longest.code });
        device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
      } finally {
        setOver(longest);
        announce(signs);
      }
  }
}

let device: GPUDevice | null = null;
try {
  device = await ownDevice();
  if (device) compile(device);
} finally {
  Atomics.add(signs, ENDED, 1);
  announce(signs);
}
device?.destroy();
