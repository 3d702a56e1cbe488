import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compose, OBJECTIVE, type Plugin, run, Trainer } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { lora, TEXT_ATTENTION_TARGETS } from '../../../plugins/adapters/lora.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { cpu } from '../../../plugins/devices/cpu.js';
import { wordTokenizer } from '../../../plugins/models/clip/tokenizer.js';
import type { TextToImage } from '../../../plugins/models/stable-diffusion/text-to-image.js';
import { type TextToImageModelOptions, textToImageModel } from '../../../plugins/models/text-to-image-model.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { folder } from '../../../plugins/persist/formats/folder.js';
import { readLoraFile } from '../../../plugins/persist/formats/lora-file.js';
import { readSafetensors } from '../../../plugins/persist/formats/safetensors.js';
import { saveLora } from '../../../plugins/persist/save-lora.js';
import { ema } from '../../../plugins/weights/ema.js';

let place: string;
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'steploom-save-'));
});
afterAll(() => rm(place, { recursive: true }));

/** Draws the model's prediction towards 0: gradients go through denoiser and text encoder. */
const objective = (): Plugin => ({
  name: 'towards-zero',
  fills: OBJECTIVE,
  loss: (context, model, batch) => {
    const { encode, predict, channels } = model as TextToImage;
    const texts = batch.strings?.text ?? [];
    const latents = tf.ones([texts.length, 4, 4, channels]) as tf.Tensor4D;
    return predict(
      context,
      latents,
      texts.map(() => 5),
      encode(context, texts),
    )
      .square()
      .mean() as tf.Scalar;
  },
});

const captions = ['red heart', 'heart, green', 'red'];

/** Tiny models: one that works on pixels, and Stable Diffusion 2 with v prediction, as diffusers writes it. */
const models: Record<string, TextToImageModelOptions['from']> = {
  pixels: {
    unet: {
      in_channels: 3,
      out_channels: 3,
      sample_size: 4,
      block_out_channels: [4, 8],
      down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D'],
      up_block_types: ['CrossAttnUpBlock2D', 'UpBlock2D'],
      layers_per_block: 1,
      norm_num_groups: 2,
      attention_head_dim: 2,
      cross_attention_dim: 8,
    },
    textEncoder: {
      vocab_size: 9,
      hidden_size: 8,
      intermediate_size: 16,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      max_position_embeddings: 6,
    },
    tokenizer: wordTokenizer(['red', 'heart', 'green'], 6),
    noise: {},
    block: 1,
  },
  sd21: folder(fileURLToPath(new URL('../../fixtures/pipelines/sd21', import.meta.url))),
};

/** One of them, trained for a step, into a folder. */
async function trained(name: string, of: string, more: Plugin[] = []) {
  let model: TextToImage | undefined;
  const peek: Plugin = {
    name: 'peek',
    apply: (host) =>
      host.hooks.onStart.tap(() => {
        model = host.model() as TextToImage;
      }),
  };
  const options = { rank: 2, alpha: 3, rslora: true };
  const x = { dtype: 'float32' as const, shape: [3, 1], data: new Float32Array(3) };
  await new Trainer(
    compose(
      run({ learningRate: 0.1, steps: 1 }),
      cpu(),
      textToImageModel({ from: models[of], train: 'nothing' }),
      lora({ ...options, textTargets: TEXT_ATTENTION_TARGETS }),
      arrays({ x }, { batchSize: 3, strings: { text: captions } }),
      objective(),
      adamw(),
      saveLora(join(place, name), options),
      peek,
      ...more,
    ),
  ).train();
  return model as TextToImage;
}

test('adapters of denoiser and text encoder are written in two forms, which hold the same', async () => {
  const model = await trained('cats', 'sd21');
  expect((await readdir(join(place, 'cats'))).sort()).toEqual(['cats.kohya.safetensors', 'pytorch_lora_weights.safetensors']);
  const [kohya, diffusers] = await Promise.all(
    ['cats.kohya.safetensors', 'pytorch_lora_weights.safetensors'].map((name) => readFile(join(place, 'cats', name))),
  );
  const [one, other] = [kohya, diffusers].map((bytes) =>
    readLoraFile(bytes, model.modules)
      .map(({ path, a, b, rank, scale }) => ({ path, a, b, rank, scale: Math.fround(scale) }))
      .sort((x, y) => (x.path < y.path ? -1 : 1)),
  );
  expect(one).toEqual(other);
  expect(one[0].scale).toBeCloseTo(3 / Math.sqrt(2), 6);
  const text = one.filter(({ path }) => path.startsWith('text_encoder.'));
  const names = ['k_proj', 'out_proj', 'q_proj', 'v_proj'];
  expect(text.map(({ path }) => path)).toEqual(
    [0, 1].flatMap((layer) => names.map((name) => `text_encoder.encoder.layers.${layer}.self_attn.${name}`)),
  );
  expect(one.length).toBeGreaterThan(text.length);
  // Both were trained: B starts at 0.
  for (const { path, b } of one) expect(Math.max(...b.data.map(Math.abs)), path).toBeGreaterThan(0);
  expect([...readSafetensors(kohya).tensors.keys()]).toContain('lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight');
  const base = {
    ss_base_model_version: 'sd_v2_v',
    ss_v2: 'True',
    ss_output_name: 'cats',
    'modelspec.resolution': '16x16',
    'modelspec.prediction_type': 'v',
  };
  expect(readSafetensors(diffusers).metadata).toMatchObject(base);
  expect(readSafetensors(kohya).metadata).toMatchObject({
    ...base,
    ss_tag_frequency: JSON.stringify({ cats: { 'red heart': 1, heart: 1, green: 1, red: 1 } }),
  });
  expect(JSON.parse(readSafetensors(diffusers).metadata.lora_adapter_metadata)).toMatchObject({
    'unet.use_rslora': true,
    'unet.lora_alpha': 3,
    'text_encoder.r': 2,
  });
});

test('averaged ones stand apart; a model that works on pixels is none that other programs have', async () => {
  await trained('pixels', 'pixels', [ema({ decay: 0.5 })]);
  expect((await readdir(join(place, 'pixels'))).sort()).toEqual(['averaged', 'pytorch_lora_weights.safetensors']);
  await trained('both', 'sd21', [ema({ decay: 0.5 })]);
  expect(await readdir(join(place, 'both', 'averaged'))).toEqual(['both.kohya.safetensors', 'pytorch_lora_weights.safetensors']);
});
