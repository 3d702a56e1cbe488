// What a model of Stable Diffusion takes, with LoRA on its attention: seconds to load it, to encode a picture, to draw one, milliseconds a step of
// training from cached latents, and memory. Run after npm run build.
//   node test/bench/stable-diffusion.mjs FOLDER [device [side [training steps [drawing steps]]]]
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { compose, makeContext, run, seededRandom, Trainer, weightsOf } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import {
  adamw,
  arrays,
  constant,
  ddim,
  denoising,
  device,
  folder,
  lora,
  sampleImages,
  textToImageModel,
} from '../../dist/plugins/index.js';
import { buildTextToImage } from '../../dist/plugins/models/stable-diffusion/build.js';

const [path, deviceName = 'auto', wanted, steps = '10', drawing = '10'] = process.argv.slice(2);
const most = () => Math.round(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] / 1024);
const onGPU = () => {
  try {
    return `; GPU ${execFileSync('nvidia-smi', ['--query-gpu=memory.used', '--format=csv,noheader'], { encoding: 'utf8' }).trim()}`;
  } catch {
    return '';
  }
};
const say = (what, seconds, unit = 's') =>
  console.log(`${what}: ${seconds.toFixed(unit === 's' ? 1 : 0)} ${unit}; host at most ${most()} MiB${onGPU()}`);
const timed = async (work) => {
  const began = performance.now();
  const result = await work();
  return [result, (performance.now() - began) / 1000];
};

const report = await device(deviceName).setUp();
console.log(`${path} on ${report.name}${report.detail ? ` (${report.detail})` : ''}; host at the start at most ${most()} MiB`);
const [model, loading] = await timed(() => buildTextToImage({ from: folder(path), train: 'nothing' }, seededRandom(0)));
const side = Number(wanted ?? model.latentSize * model.codec.factor);
say('loaded', loading);

const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
const encode = async () => {
  const moments = tf.tidy(() => model.codec.moments(context, tf.randomUniform([1, side, side, 3], -1, 1, 'float32', 1)));
  const data = await moments.data();
  moments.dispose();
  return { shape: moments.shape, data };
};
const [, first] = await timed(encode);
const [moments, second] = await timed(encode);
say(`a picture of ${side} px encoded (the first in ${first.toFixed(1)} s)`, second);
const draw = () =>
  sampleImages(model, weightsOf(model), seededRandom(0), ['a cat'], {
    sampler: ddim(),
    steps: Number(drawing),
    guidance: 5,
    height: side,
    width: side,
  });
await draw();
say(`a picture drawn in ${drawing} guided steps`, (await timed(draw))[1]);
for (const { variable } of model.parameters.values()) variable.dispose();

const all = { dtype: 'float32', shape: [4, ...moments.shape.slice(1)], data: new Float32Array(4 * moments.data.length) };
for (let i = 0; i < 4; i++) all.data.set(moments.data, i * moments.data.length);
let began = 0;
const count = Number(steps);
const clock = {
  name: 'clock',
  apply({ hooks }) {
    hooks.shouldLog.tap(({ step }) => step === 1 || step === count - 1);
    hooks.onRecord.tap(({ step }) => {
      if (began === 0) began = performance.now();
      else if (step !== undefined) say('a step of training, one picture', (performance.now() - began) / (count - 2), 'ms');
    });
  },
};
await new Trainer(
  compose(
    run({ steps: count, learningRate: 1e-4, weightDecay: 0.01, seed: 0 }),
    device(deviceName),
    textToImageModel({ from: folder(path), train: 'nothing' }),
    lora({ rank: 4 }),
    arrays({ moments: all }, { batchSize: 1, strings: { text: new Array(4).fill('a cat') } }),
    denoising(),
    adamw(),
    constant(),
    clock,
  ),
).train();
