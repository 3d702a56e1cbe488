// steploom's part of full_size.py, which starts it: loads the model of a folder, computes losses, trains an adapter. Run after npm run build.
//   node full_size.mjs FOLDER DEVICE STEPS RATE RANK PROMPT...
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeContext, weightsOf } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { device, folder, textToImageModel } from '../../dist/plugins/index.js';
import { readSafetensors, writeSafetensors } from '../../dist/plugins/persist/formats/safetensors.js';
import { predictedAt, trainGiven } from './given.mjs';

const [work, deviceName, ...more] = process.argv.slice(2);
const [steps, learningRate, rank] = more.map(Number);
const { tensors } = readSafetensors(await readFile(join(work, 'given.safetensors')));
const given = {
  prompts: more.slice(3),
  latents: tensors.get('latents'),
  noises: tensors.get('noises'),
  timesteps: tensors.get('timesteps'),
};
/** The adapter's matrices at first; where the file has none, what lora() draws. */
const start = new Map([...tensors].flatMap(([name, value]) => (name.startsWith('start.') ? [[name.slice('start.'.length), value]] : [])));

/** MiB on the GPU, of all processes: now, and at most since it was asked last. Nothing where there is no nvidia-smi. */
const gpu = { now: 0, most: 0 };
const watch = spawn('nvidia-smi', ['--query-gpu=memory.used', '--format=csv,noheader,nounits', '-lms', '100'], {
  stdio: ['ignore', 'pipe', 'ignore'],
});
watch.on('error', () => {});
watch.stdout.on('data', (text) => {
  for (const used of String(text).trim().split('\n').map(Number)) {
    gpu.now = used;
    gpu.most = Math.max(gpu.most, used);
  }
});

let began = performance.now();
/** Prints seconds since the last call, and memory. */
async function say(what) {
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  // Lets what nvidia-smi has said come in.
  await new Promise((resolve) => setTimeout(resolve, 150));
  const host = /VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] / 1024;
  const { rss, arrayBuffers } = process.memoryUsage();
  const memory = `host ${Math.round(rss / 2 ** 20)} MiB, of it arrays ${Math.round(arrayBuffers / 2 ** 20)}, at most so far ${Math.round(host)}`;
  console.log(`  ${what}: ${seconds} s; ${memory}${gpu.now ? `; GPU ${gpu.now} MiB, at most ${gpu.most}` : ''}`);
  gpu.most = gpu.now;
  began = performance.now();
}

const out = {};
const floats = (shape, data) => ({ dtype: 'float32', shape, data: Float32Array.from(data) });
/** Values [n, h, w, c] as [n, c, h, w] on the host. */
async function pictures(tensor) {
  const turned = tf.tidy(() => tensor.transpose([0, 3, 1, 2]));
  tensor.dispose();
  const result = floats(turned.shape, await turned.data());
  turned.dispose();
  return result;
}
const evaluating = (model) => makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });

/** The model as it was read, before it is given an adapter. */
async function look(model) {
  const context = evaluating(model);
  const told = tf.tidy(() => ({ ...model.encode(context, given.prompts) }));
  for (const [name, tensor] of Object.entries(told)) out[name] = floats(tensor.shape, await tensor.data());
  tf.dispose(told);
  await say('text states');
  const losses = [];
  for (let step = 0; step < steps; step++) {
    const { predicted, loss } = tf.tidy(() => predictedAt(context, model, given, step));
    losses.push((await loss.data())[0]);
    loss.dispose();
    if (step > 0) predicted.dispose();
    else {
      out.predicted = await pictures(predicted);
      await say('first prediction');
    }
  }
  out.base = floats([steps], losses);
  await say(`${steps} losses`);
}

const plugin = textToImageModel({ from: folder(join(work, 'model')), train: 'nothing' });
const losses = [];
await say('start');
await trainGiven({
  device: device(deviceName),
  model: {
    ...plugin,
    async build(random) {
      await say(`device ${deviceName}`);
      const model = await plugin.build(random);
      await say('load');
      await look(model);
      return model;
    },
  },
  given,
  adapter: { rank },
  ...(start.size > 0 ? { start } : {}),
  steps,
  learningRate,
  saveTo: join(work, 'adapter'),
  async onLoss(loss) {
    losses.push(loss);
    if (losses.length === 1) await say('first step');
  },
  async onEnd(model) {
    await say(`${steps - 1} more steps`);
    out.adapted = await pictures(tf.tidy(() => predictedAt(evaluating(model), model, given, 0).predicted));
    await say('prediction with the adapter');
  },
});
out.losses = floats([steps], losses);
await writeFile(join(work, 'steploom.safetensors'), writeSafetensors(out));
await say('end');
watch.kill();
// Dawn's threads would keep the process.
process.exit(0);
