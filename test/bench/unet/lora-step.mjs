// One way of training: LoRA of rank 16 on the attention of a denoiser with random weights, AdamW, clipping. Prints one line of JSON.
//   node test/bench/unet/lora-step.mjs '{"model":"sd15","batch":4,"precision":"fp16","checkpointing":false,"device":"webgpu","scale":1,"steps":16}'
// With "driver":"null" nothing is computed: see lora-step-host.mjs. On tfjs-node and tfjs-node-gpu it says as well what a step asks of TensorFlow's library:
// see library-calls.mjs; the memory that the driver gives is known of webgpu alone.

import { create, globals } from 'webgpu';
import { compose, MODEL, OBJECTIVE, run, seededRandom, Trainer } from '../../../dist/core/index.js';
import * as tf from '../../../dist/core/tf.js';
import { operation } from '../../../dist/plugins/devices/compute/contract.js';
import { normalsOf } from '../../../dist/plugins/devices/compute/normals.js';
import { squaredErrors } from '../../../dist/plugins/devices/compute/squared-errors.js';
import {
  adamw,
  arrays,
  clipping,
  constant,
  device,
  gradientCheckpointing,
  graphCapture,
  lora,
  lossScaling,
  nonFiniteGuard,
} from '../../../dist/plugins/index.js';
import { halfWraps } from '../../../dist/plugins/models/stable-diffusion/half-precision.js';
import { unet2DCondition } from '../../../dist/plugins/models/unet/unet2d-condition.js';
import { libraryCalls } from './library-calls.mjs';
import { denoisers } from './models.mjs';

const asked = { device: 'webgpu', scale: 1, batch: 1, precision: 'fp16', checkpointing: false, steps: 16, ...JSON.parse(process.argv[2]) };
const { side, width, config } = denoisers(asked.scale)[asked.model];
const { batch } = asked;
if (asked.driver) {
  Object.assign(globalThis, globals);
  globalThis.navigator ??= {};
  Object.defineProperty(globalThis.navigator, 'gpu', { value: create([`backend=${asked.driver}`]), configurable: true });
}
const half = asked.precision === 'fp16';

// All memory that the driver is asked for.
const memory = { now: 0, most: 0 };
if (asked.device === 'webgpu') {
  await device('webgpu').setUp();
  const { createBuffer } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (given) {
    const buffer = createBuffer.call(this, given);
    memory.now += given.size;
    memory.most = Math.max(memory.most, memory.now);
    const { destroy } = buffer;
    buffer.destroy = () => {
      memory.now -= given.size;
      return destroy.call(buffer);
    };
    return buffer;
  };
}
const library = asked.device.startsWith('tfjs-node') ? await libraryCalls(asked.device) : null;

/** Normal numbers: on the device where it can, else the same million again and again, since hundreds of millions take a host a minute. */
let million = null;
const drawn = (stream, size) => {
  if (operation('normals') || size < 2 ** 20) return normalsOf([stream], [size]);
  million ??= stream.normals(new Float32Array(2 ** 20));
  const numbers = new Float32Array(size);
  for (let at = 0; at < size; at += million.length) numbers.set(million.subarray(0, Math.min(million.length, size - at)), at);
  return tf.tensor1d(numbers);
};

const model = {
  name: 'denoiser',
  fills: MODEL,
  async build() {
    const unet = unet2DCondition(config);
    const random = seededRandom(0);
    const parameters = new Map();
    for (const { path, shape } of unet.specs) {
      const isWeight = shape.length > 1;
      const start = tf.tidy(() => {
        if (!isWeight) return path.includes('norm') && path.endsWith('weight') ? tf.ones(shape) : tf.zeros(shape);
        const fanIn = shape.slice(0, -1).reduce((a, b) => a * b, 1);
        return drawn(
          random.named(path),
          shape.reduce((a, b) => a * b, 1),
        )
          .mul(1 / Math.sqrt(fanIn))
          .reshape(shape);
      });
      const precision = operation('precision');
      // As a model's reader does it: the numbers in single precision are gone at once.
      const stored = half && isWeight && precision.fits(shape) ? await precision.store(start) : start;
      parameters.set(path, { variable: tf.variable(stored), trainable: false, group: 'unet' });
      stored.dispose();
    }
    return {
      parameters,
      modules: unet.modules,
      wraps: half ? halfWraps({ components: { family: { encoders: [] } } }) : new Map(),
      blocks: unet.blocks,
      graphs: unet.graphs,
      forward(context, { latents, states, pooled }) {
        const timeIds = new Array(batch).fill([1024, 1024, 0, 0, 1024, 1024]);
        return unet.forward(context, latents, new Array(batch).fill(500), states, pooled && { pooled, timeIds });
      },
    };
  },
};

const column = (shape, seed) => {
  const data = seededRandom(seed)
    .named('column')
    .normals(new Float32Array(shape.reduce((a, b) => a * b, batch)));
  return { dtype: 'float32', shape: [batch, ...shape], data };
};
const data = arrays(
  {
    latents: column([side, side, 4], 1),
    noise: column([side, side, 4], 2),
    states: column([77, width], 3),
    ...(asked.model === 'sdxl' ? { pooled: column([1280], 4) } : {}),
  },
  { batchSize: batch },
);
const objective = {
  name: 'objective',
  fills: OBJECTIVE,
  loss: (context, made, { tensors }) => squaredErrors(made.forward(context, tensors), tensors.noise).mean(),
};

/** The first step, and those after a few that warm up. */
const warm = 4;
let began = 0;
let active = 0;
const figures = {};
const clock = {
  name: 'clock',
  apply({ hooks }) {
    hooks.onStart.tapPromise(async () => {
      began = performance.now();
    });
    hooks.shouldLog.tap(({ step }) => [0, warm - 1, warm + asked.steps - 1].includes(step));
    hooks.afterStep.tap((step) => {
      if (step >= warm) figures.host += performance.now() - active;
    });
    hooks.beforeEpoch.tapPromise(async ({ step }) => {
      active = performance.now();
      if (step === warm) memory.most = memory.now;
    });
    hooks.onRecord.tap(({ step, loss }) => {
      const now = performance.now();
      if (step === 1) figures.first = (now - began) / 1000;
      if (step === warm) {
        Object.assign(figures, { since: now, host: 0 });
        library?.reset();
      }
      if (step === warm + asked.steps)
        Object.assign(figures, { ms: (now - figures.since) / asked.steps, loss, ...library?.figures(asked.steps) });
    });
  },
};
const warnings = [];
await new Trainer(
  compose(
    run({ steps: warm + asked.steps, learningRate: 1e-4, weightDecay: 0.01, seed: 0 }),
    device(asked.device),
    model,
    lora({ rank: 16, targets: ['to_q', 'to_k', 'to_v', 'to_out.0'] }),
    data,
    objective,
    adamw(),
    constant(),
    clipping(1),
    ...(half ? [nonFiniteGuard(), lossScaling()] : []),
    ...(asked.checkpointing ? [gradientCheckpointing()] : []),
    ...(asked.capture === false ? [] : [graphCapture()]),
    clock,
  ),
).train();
const gib = (bytes) => Number((bytes / 2 ** 30).toFixed(2));
const { ms, host, first, since: _, ...more } = figures;
console.log(
  JSON.stringify({
    ...asked,
    ms: Number(ms.toFixed(1)),
    host: Number((host / asked.steps).toFixed(1)),
    ...(asked.device === 'webgpu' ? { gib: gib(memory.most) } : {}),
    first: Number(first.toFixed(1)),
    ...more,
    warnings,
  }),
);
process.exit();
