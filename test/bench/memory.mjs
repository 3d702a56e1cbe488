// 2,000 steps of a small job: tensors and memory stay flat.   npm run bench:memory

import { fileURLToPath } from 'node:url';
import { Trainer } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { arrays, folder, learnTokenizer, textToImageModel, wasm } from '../../dist/plugins/index.js';
import { loraInMemory } from '../../dist/presets/index.js';

const steps = Number(process.argv[2] ?? 2000);
const side = 8;
const images = {
  dtype: 'float32',
  shape: [16, side, side, 3],
  data: Float32Array.from({ length: 16 * side * side * 3 }, (_, i) => Math.sin(i)),
};
const captions = Array.from({ length: 16 }, (_, i) => (i % 2 ? 'one' : 'two'));
const tokenizer = learnTokenizer(['one', 'two'], 6);
const fresh = {
  unet: {
    sample_size: 4,
    in_channels: 4,
    out_channels: 4,
    block_out_channels: [8, 16],
    layers_per_block: 1,
    down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D'],
    up_block_types: ['CrossAttnUpBlock2D', 'UpBlock2D'],
    cross_attention_dim: 8,
    attention_head_dim: 2,
    norm_num_groups: 4,
  },
  textEncoder: {
    vocab_size: tokenizer.size,
    hidden_size: 8,
    intermediate_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 6,
  },
  tokenizer,
  noise: { prediction_type: 'v_prediction' },
  // Of 4 and 8 channels; its latents are half as wide as pictures.
  vae: folder(fileURLToPath(new URL('../fixtures/pipelines/sd15', import.meta.url))),
};
const rows = [];
const watch = {
  name: 'watch',
  apply: ({ hooks }) =>
    hooks.afterStep.tap('watch', (step) => {
      if ((step + 1) % Math.floor(steps / 8) === 0) {
        globalThis.gc?.();
        rows.push([
          step + 1,
          tf.memory().numTensors,
          (process.memoryUsage().rss / 2 ** 20).toFixed(0),
          (process.memoryUsage().heapUsed / 2 ** 20).toFixed(1),
        ]);
      }
      return undefined;
    }),
};
const preset = loraInMemory({ model: undefined, device: wasm(), images, captions, steps, batchSize: 4, lora: { rank: 2 } }).with(
  textToImageModel({ from: fresh, train: 'nothing' }),
  arrays({ images }, { batchSize: 4, strings: { text: captions } }),
  watch,
);
await new Trainer(preset).train();
console.log('step, tensors, resident MiB, heap MiB');
for (const row of rows) console.log(row.join('\t'));
process.exit();
