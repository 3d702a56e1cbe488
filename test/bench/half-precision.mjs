// The same run in single and in half precision: a small model of Stable Diffusion's kind, trained whole and then with LoRA, on WebGPU or another device. Prints
// each run's mean loss over all steps and milliseconds a step, and how far apart the losses are. With `null` as the device, WebGPU's driver computes nothing:
// see lora-step-host.mjs.
//   npm run build && node test/bench/half-precision.mjs [steps [device]]
import { fileURLToPath } from 'node:url';
import { create, globals } from 'webgpu';
import { compose, run, seededRandom, Trainer } from '../../dist/core/index.js';
import {
  adamw,
  arrays,
  clipping,
  denoising,
  device,
  folder,
  learnTokenizer,
  lora,
  lossScaling,
  nonFiniteGuard,
  textToImageModel,
} from '../../dist/plugins/index.js';

const [given = '300', named = 'webgpu'] = process.argv.slice(2);
const steps = Number(given);
const driver = named === 'null';
if (driver) {
  Object.assign(globalThis, globals);
  globalThis.navigator ??= {};
  Object.defineProperty(globalThis.navigator, 'gpu', { value: create(['backend=null']), configurable: true });
}

const tokenizer = learnTokenizer(['red', 'blue', 'slow', 'fast'], 6);
const from = {
  unet: {
    sample_size: 8,
    in_channels: 4,
    out_channels: 4,
    block_out_channels: [32, 64],
    layers_per_block: 1,
    down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D'],
    up_block_types: ['CrossAttnUpBlock2D', 'UpBlock2D'],
    cross_attention_dim: 32,
    attention_head_dim: 4,
    norm_num_groups: 8,
  },
  textEncoder: {
    vocab_size: tokenizer.size,
    hidden_size: 32,
    intermediate_size: 64,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 6,
  },
  tokenizer,
  noise: { beta_schedule: 'squaredcos_cap_v2', prediction_type: 'v_prediction' },
  // Of 4 and 8 channels; its latents are half as wide as pictures.
  vae: folder(fileURLToPath(new URL('../fixtures/pipelines/sd15', import.meta.url))),
};

/** Waves of two colours and two lengths. */
const [count, side] = [16, 16];
const images = { dtype: 'float32', shape: [count, side, side, 3], data: new Float32Array(count * side * side * 3) };
const text = Array.from({ length: count }, (_, i) => `${i % 2 ? 'red' : 'blue'} ${i % 4 < 2 ? 'slow' : 'fast'}`);
const phases = seededRandom(7).named('phases').uniforms(new Float32Array(count), 0, 6);
for (let at = 0; at < images.data.length; at++) {
  const [channel, x, y, i] = [at % 3, Math.floor(at / 3) % side, Math.floor(at / 3 / side) % side, Math.floor(at / 3 / side / side)];
  const wave = Math.sin(phases[i] + (i % 4 < 2 ? 0.3 : 1.1) * (x + 0.5 * y));
  images.data[at] = channel === (i % 2 ? 0 : 2) ? wave : -0.8;
}

/** The mean loss of a run, and milliseconds a step. */
async function losses(train, mixedPrecision) {
  let [sum, records, began] = [0, 0, 0];
  const watch = {
    name: 'watch',
    apply({ hooks }) {
      hooks.shouldLog.tap(() => true);
      hooks.onRecord.tap(({ loss }) => {
        if (records++ === 0) began = performance.now();
        sum += loss;
      });
    },
  };
  const trainer = new Trainer(
    compose(
      run({ steps, learningRate: 1e-3, weightDecay: 0.01, seed: 0 }),
      device(driver ? 'webgpu' : named),
      textToImageModel({ from, train, mixedPrecision }),
      ...(train === 'nothing' ? [lora({ rank: 4 })] : []),
      arrays({ images }, { batchSize: 4, strings: { text } }),
      denoising(),
      adamw(),
      clipping(),
      nonFiniteGuard({ stopAfter: 20, stopAtShare: 1 }),
      ...(mixedPrecision === 'fp16' ? [lossScaling()] : []),
      watch,
    ),
    { warn: (what) => console.log(`  ${what}`) },
  );
  await trainer.train().catch((error) => {
    // There numbers are whatever lies in memory, which a guard may find not to be finite in the end.
    if (!driver || error.code !== 'NON_FINITE') throw error;
  });
  return { mean: sum / records, time: (performance.now() - began) / (records - 1) };
}

for (const [what, train] of [
  ['trained whole', 'everything'],
  ['LoRA', 'nothing'],
]) {
  const [full, half] = [await losses(train, 'no'), await losses(train, 'fp16')];
  const apart = (100 * Math.abs(half.mean - full.mean)) / full.mean;
  console.log(
    `${what}, ${steps} steps: mean loss ${full.mean.toFixed(5)} in single precision (${full.time.toFixed(1)} ms a step), ${half.mean.toFixed(5)} in half (${half.time.toFixed(1)} ms); ${apart.toFixed(2)} % apart`,
  );
}
