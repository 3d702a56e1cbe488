// The optimizers' steps: one large tensor, and 512 tensors of 4 x 320 as LoRA has them; beside torch where a Python with it
// is named. Everything of one run is measured side by side; read the ratios.
//   npm run build && node test/bench/optimizers.mjs [wasm|cpu|webgpu|tfjs-node|tfjs-node-gpu] [python]
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import * as tf from '../../dist/core/tf.js';
import { registerOperations } from '../../dist/plugins/devices/compute/contract.js';
import { globalNorm } from '../../dist/plugins/devices/compute/reduce.js';
import { accumulation, adamw, adamw8bit, device, lion } from '../../dist/plugins/index.js';

const [name = 'wasm', python] = process.argv.slice(2);
const gpu = name === 'webgpu' || name === 'tfjs-node-gpu';
const report = await device(name).setUp();
console.log(`${report.name}: ${report.detail}`);

const SIZES = Number(process.env.ELEMENTS ?? (gpu ? 1e8 : 4_194_304));
const TENSORS = Number(process.env.TENSORS ?? 512);
const shapes = { one: [[SIZES]], many: Array.from({ length: TENSORS }, () => [4, 320]) };
const rates = { g: { learningRate: 1e-3, weightDecay: 1e-2 } };
/** Uniform numbers; a long list repeats its first million, as drawing them takes longer than everything else here. */
const noise = (shape, scale) =>
  tf.tidy(() => {
    const size = shape.reduce((a, b) => a * b, 1);
    const drawn = tf.randomUniform([Math.min(size, 1 << 20)], -scale, scale, 'float32', 1);
    const tiled = size > 1 << 20 ? tf.tile(drawn, [Math.ceil(size / (1 << 20))]).slice([0], [size]) : drawn;
    return tiled.reshape(shape).mul(1);
  });

/** Waits until the device has done everything so far. */
const settle = async () => {
  const backend = tf.backend();
  if (name === 'webgpu') {
    // Reading a scalar back would not do: small operations stay on the host.
    if (backend.commandEncoder) {
      backend.endComputePassEncoder();
      backend.submitQueue();
    }
    return backend.device.queue.onSubmittedWorkDone();
  }
  const x = tf.scalar(1).mul(1);
  await x.data();
  x.dispose();
};

/** Calls on a GPU that are waited for together: a training's steps are not waited for either. */
const IN_ROW = 100;

/** The median of milliseconds a call, over calls in a row that are waited for once where the device works behind. */
async function measure(call, repeats = 15, inRow = gpu ? IN_ROW : 1, warm = gpu || SIZES < 1e6 ? 0 : 300) {
  const times = [];
  // Warm: compiled, and threads that start with the first large call are there. A size for a try is not timed.
  for (const until = performance.now() + warm; performance.now() < until; ) {
    await settle();
    await new Promise((done) => setTimeout(done));
    call();
  }
  for (let i = 0; i < repeats + 3; i++) {
    await settle();
    const start = performance.now();
    for (let j = 0; j < inRow; j++) call();
    if (gpu) await settle();
    if (i >= 3) times.push((performance.now() - start) / inRow);
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
}

async function optimizerTime(make, list) {
  const parameters = new Map(list.map((shape, i) => [`p${i}`, { variable: tf.variable(noise(shape, 0.1)), trainable: true, group: 'g' }]));
  const gradients = Object.fromEntries(list.map((shape, i) => [`p${i}`, noise(shape, 0.01)]));
  const optimizer = make();
  optimizer.start(parameters);
  let step = 0;
  const time = await measure(() => optimizer.update({ gradients, scale: 1, finite: 1 }, rates, step++));
  optimizer.dispose();
  const norm = await measure(() => globalNorm(gradients, 1).dispose());
  for (const { variable } of parameters.values()) variable.dispose();
  tf.dispose(gradients);
  return { time, norm };
}

async function accumulateTime(list) {
  let tap;
  accumulation(1e9).apply({ hooks: { onAccumulate: { tap: (fn) => (tap = fn) } } });
  const sums = () => ({
    gradients: Object.fromEntries(list.map((shape, i) => [`p${i}`, noise(shape, 0.01)])),
    loss: tf.scalar(1),
    items: 1,
  });
  tap(sums(), { index: 0, endsWindow: false });
  const given = Array.from({ length: 18 }, sums);
  return measure(() => tap(given.pop(), { index: 1, endsWindow: false }), 15, 1, 0);
}

const rows = {};
for (const [kind, list] of Object.entries(shapes)) {
  const { time, norm } = await optimizerTime(adamw, list);
  rows[kind] = { adamw: time, norm, lion: (await optimizerTime(lion, list)).time };
  if (kind === 'one') rows[kind].adamw8bit = (await optimizerTime(adamw8bit, list)).time;
  if (!gpu) rows[kind].accumulate = await accumulateTime(list);
}
// The same without kernels of ours: the statement of the update as TensorFlow.js operations.
if (name !== 'webgpu') {
  registerOperations(tf.backend(), {});
  rows.many.portable = (await optimizerTime(adamw, shapes.many)).time;
  rows.one.portable = (await optimizerTime(adamw, shapes.one)).time;
}
for (const [kind, row] of Object.entries(rows))
  console.log(
    `${kind === 'one' ? `one tensor of ${SIZES.toLocaleString('en-US')}` : `${TENSORS} tensors of 4 x 320`}: ${Object.entries(row)
      .map(([what, ms]) => `${what} ${ms.toFixed(2)} ms`)
      .join(', ')}`,
  );
if (gpu) {
  // Bytes that must move: AdamW reads p, g, m, v and writes p, m, v; 8-bit reads and writes two codes in place of m and v.
  const rate = (bytes, ms) => (bytes * SIZES) / ms / 1e6;
  const copy = await copyTime();
  const bandwidth = (8 * SIZES) / copy / 1e6;
  console.log(`copying: ${bandwidth.toFixed(0)} GB/s`);
  console.log(`AdamW: ${rate(28, rows.one.adamw).toFixed(0)} GB/s, ${((100 * rate(28, rows.one.adamw)) / bandwidth).toFixed(0)} % of it`);
  console.log(
    `8-bit: ${rate(16.0625, rows.one.adamw8bit).toFixed(0)} GB/s, ${((100 * rate(16.0625, rows.one.adamw8bit)) / bandwidth).toFixed(0)} % of it`,
  );
} else console.log(`8-bit to 32-bit: ${(rows.one.adamw8bit / rows.one.adamw).toFixed(2)}`);

if (python) {
  const script = fileURLToPath(new URL('optimizers_torch.py', import.meta.url));
  const { stdout, stderr, status } = spawnSync(python, [script, gpu ? 'cuda' : 'cpu'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const torch = JSON.parse(stdout.trim().split('\n').pop());
  if (torch.copy)
    console.log(
      `torch copies at ${torch.copy.toFixed(0)} GB/s: AdamW has ${(((28 * SIZES) / rows.one.adamw / 1e6 / torch.copy) * 100).toFixed(0)} % of it, 8-bit ${(((16.0625 * SIZES) / rows.one.adamw8bit / 1e6 / torch.copy) * 100).toFixed(0)} %`,
    );
  console.log(
    `torch fused AdamW: one ${torch.one.toFixed(2)} ms, 512 ${torch.many.toFixed(2)} ms; bitsandbytes AdamW8bit: one ${torch.one8bit?.toFixed(2)} ms`,
  );
  console.log(
    `ours to theirs: one ${(rows.one.adamw / torch.one).toFixed(2)}, 512 ${(rows.many.adamw / torch.many).toFixed(2)}, 8-bit ${(rows.one.adamw8bit / torch.one8bit).toFixed(2)}`,
  );
}
process.exit();

/** A copy of as many floats from one buffer to another: by a shader, which is faster than the driver's own (TensorFlow: a negation). */
async function copyTime() {
  if (name !== 'webgpu') {
    const x = noise([SIZES], 1);
    return measure(() => tf.neg(x).dispose());
  }
  const { device: d } = tf.backend();
  console.log(`storage buffers a shader may bind: ${d.limits.maxStorageBuffersPerShaderStage}`);
  const [from, to] = [0, 1].map(() => d.createBuffer({ size: 4 * SIZES, usage: 0x80 }));
  const across = 16384;
  const code = `@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4f>;
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * ${across * 256}u;
  if (i < arrayLength(&b)) { b[i] = a[i]; }
}`;
  const pipeline = d.createComputePipeline({ layout: 'auto', compute: { module: d.createShaderModule({ code }), entryPoint: 'main' } });
  const entries = [from, to].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = d.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  const times = [];
  for (let i = 0; i < 8; i++) {
    await d.queue.onSubmittedWorkDone();
    const start = performance.now();
    const encoder = d.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let j = 0; j < IN_ROW; j++) pass.dispatchWorkgroups(across, Math.ceil(SIZES / 4 / 256 / across));
    pass.end();
    d.queue.submit([encoder.finish()]);
    await d.queue.onSubmittedWorkDone();
    if (i >= 3) times.push((performance.now() - start) / IN_ROW);
  }
  return times.sort((a, b) => a - b)[2];
}
