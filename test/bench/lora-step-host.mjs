// What a LoRA step of a UNet with all of Stable Diffusion 1's layers, a tenth as wide, asks of a GPU's driver: pipelines compiled, dispatches, and the
// host's milliseconds, on Dawn's driver that computes nothing. No GPU is needed. Its workgroups have 16 KiB, so that attention is made of products.
//   npm run build && node test/bench/lora-step-host.mjs [steps] [checkpointing] [capture]

import { create, globals } from 'webgpu';
import { backward, makeContext, ReplayedPart, weightsOf, withRecomputedBlocks } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { matchModules, withLora } from '../../dist/plugins/adapters/lora/modules.js';
import { operation } from '../../dist/plugins/devices/compute/contract.js';
import { device } from '../../dist/plugins/index.js';
import { unet2DCondition } from '../../dist/plugins/models/unet/unet2d-condition.js';

const [steps = '20', ...ways] = process.argv.slice(2);
Object.assign(globalThis, globals);
globalThis.navigator ??= {};
Object.defineProperty(globalThis.navigator, 'gpu', { value: create(['backend=null']), configurable: true });
await device('webgpu').setUp();

const count = { pipelines: 0, dispatches: 0 };
const counted = (prototype, method, name) => {
  const own = prototype[method];
  prototype[method] = function (...args) {
    count[name]++;
    return own.apply(this, args);
  };
};
counted(GPUDevice.prototype, 'createComputePipeline', 'pipelines');
counted(GPUComputePassEncoder.prototype, 'dispatchWorkgroups', 'dispatches');

const unet = unet2DCondition({ cross_attention_dim: 768, block_out_channels: [32, 64, 128, 128] });
const parameters = new Map(
  unet.specs.map(({ path, shape }) => {
    const variable = tf.tidy(() => tf.variable(tf.zeros(shape)));
    return [path, { variable, trainable: false, group: 'unet' }];
  }),
);
const base = {
  parameters,
  modules: unet.modules,
  wraps: new Map(),
  blocks: unet.blocks,
  forward: (context, { x, text }) => unet.forward(context, x, [500], text),
};
const targets = matchModules(unet.modules, ['to_q', 'to_k', 'to_v', 'to_out.0'], 'unet.', (target) => {
  throw new Error(`no module matches ${target}`);
});
const adapters = targets.map((path) => {
  const facts = unet.modules.get(path);
  const [size, out] = facts.shape.slice(-2);
  return { path, facts, group: 'unet', a: tf.zeros([size, 16]), b: tf.zeros([16, out]), scale: 1 };
});
const adapted = withLora(base, adapters);
const model = ways.includes('checkpointing') ? withRecomputedBlocks(adapted) : adapted;
const capturer = operation('graphCapturer')();
if (ways.includes('capture')) {
  const refused = (why) => {
    throw new Error(why);
  };
  model.wraps.set('unet', [new ReplayedPart(capturer, refused).wrap]);
}
const weights = weightsOf(model);
const trained = Object.fromEntries(Object.entries(weights).filter(([path]) => model.parameters.get(path).trainable));

const times = [];
for (let step = 0; step < Number(steps); step++) {
  count.dispatches = 0;
  const [x, text] = [tf.zeros([1, 32, 32, 4]), tf.zeros([1, 77, 768])];
  const began = performance.now();
  const context = makeContext(model, { mode: 'train', parameters: weights });
  const { loss, gradients } = backward(
    () => model.forward(context, { x, text }).square().mean(),
    trained,
    () => 1,
  );
  times.push(performance.now() - began);
  await loss.data();
  tf.dispose([x, text, loss, gradients]);
}
const [first, ...others] = times;
const median = others.sort((a, b) => a - b)[Math.floor(others.length / 2)];
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const { numBytesInGPU, numBytesAllocatedInGPU } = tf.memory();
console.log(
  `${count.pipelines} pipelines, ${count.dispatches} dispatches a step; the host: ${first.toFixed(0)} ms the first, ${median.toFixed(1)} ms others (median)`,
);
console.log(
  `the pool: ${mebibytes(numBytesAllocatedInGPU)}, of which ${mebibytes(numBytesInGPU)} in use between steps; captured graphs: ${mebibytes(capturer.bytes)}`,
);
process.exit();
