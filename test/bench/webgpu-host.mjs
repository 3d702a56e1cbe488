// What a step of the base's training costs the host on WebGPU: calls into the driver and the time in them, next to the time of
// a step. Run alone; with --cpu-prof for more. `fp16` trains at half precision; `small` trains a classifier of digits in its place, for devices that are none.
//   npm run build && node test/bench/webgpu-host.mjs [steps] [batch] [small | fp16]
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Trainer } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { webgpu } from '../../dist/plugins/devices/webgpu.js';
import { device } from '../../dist/plugins/index.js';
import { emojiBase, emojiBaseFolder } from '../../dist/presets/index.js';
import { supervised } from '../../dist/presets/supervised.js';

const steps = Number(process.argv[2] ?? 40);
const trainBatchSize = Number(process.argv[3] ?? 128);
const isSmall = process.argv[4] === 'small';
const warm = Math.ceil(steps / 4);
await device('webgpu').setUp();

const calls = new Map();
let counting = false;
/** Counts and times a method of a prototype while counting. */
const watch = (type, method) => {
  const prototype = globalThis[type]?.prototype;
  const own = prototype?.[method];
  if (!own) return;
  const entry = { count: 0, ms: 0 };
  calls.set(`${type}.${method}`, entry);
  prototype[method] = function (...args) {
    if (!counting) return own.apply(this, args);
    const start = performance.now();
    const result = own.apply(this, args);
    entry.ms += performance.now() - start;
    entry.count++;
    return result;
  };
};
for (const method of ['createBuffer', 'createBindGroup', 'createCommandEncoder', 'createComputePipeline', 'createComputePipelineAsync'])
  watch('GPUDevice', method);
for (const method of ['submit', 'writeBuffer', 'onSubmittedWorkDone']) watch('GPUQueue', method);
for (const method of ['beginComputePass', 'finish', 'copyBufferToBuffer']) watch('GPUCommandEncoder', method);
for (const method of ['setPipeline', 'setBindGroup', 'dispatchWorkgroups', 'end']) watch('GPUComputePassEncoder', method);
for (const method of ['mapAsync', 'getMappedRange', 'unmap', 'destroy']) watch('GPUBuffer', method);

const outputDir = mkdtempSync(join(tmpdir(), 'steploom-'));
let start = 0;
const stop = {
  name: 'watch',
  apply: ({ hooks }) => {
    hooks.onRequest.tap('watch', (asked, { step }) => {
      if (step + 1 === warm) {
        start = performance.now();
        counting = true;
      }
      if (step + 1 < steps) return asked;
      counting = false;
      const counted = steps - warm;
      console.log(`${((performance.now() - start) / counted).toFixed(1)} ms a step of batch ${trainBatchSize}`);
      for (const [name, { count, ms }] of [...calls].sort((a, b) => b[1].ms - a[1].ms))
        if (count)
          console.log(`${name.padEnd(42)} ${(count / counted).toFixed(1).padStart(8)} a step, ${(ms / counted).toFixed(2).padStart(7)} ms`);
      return { ...asked, stop: 1 };
    });
  },
};
const small = () =>
  supervised({
    model: tf.sequential({
      layers: [tf.layers.dense({ inputShape: [64], units: 32, activation: 'relu' }), tf.layers.dense({ units: 10 })],
    }),
    device: webgpu(),
    data: {
      x: { dtype: 'float32', shape: [64, 64], data: new Float32Array(64 * 64).fill(0.5) },
      y: { dtype: 'int32', shape: [64], data: new Int32Array(64) },
    },
    loss: 'cross-entropy',
    steps,
    batchSize: trainBatchSize,
  });
const base = async () =>
  (
    await emojiBase({
      pretrainedVaeModelNameOrPath: emojiBaseFolder(),
      device: 'webgpu',
      mixedPrecision: process.argv[4] === 'fp16' ? 'fp16' : 'no',
      trainBatchSize,
      loggingSteps: 20,
      outputDir,
      quiet: true,
    })
  ).without('emoji-figures');
await new Trainer((isSmall ? small() : await base()).with(stop)).train();
rmSync(outputDir, { recursive: true });
process.exit();
