import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AnyPlugin, compose, OBJECTIVE, type Plugin, run, Trainer } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { lora, TEXT_ATTENTION_TARGETS } from '../../../plugins/adapters/lora.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { cpu } from '../../../plugins/devices/cpu.js';
import { layersModel } from '../../../plugins/models/layers-model.js';
import type { TextToImage } from '../../../plugins/models/stable-diffusion/text-to-image.js';
import { textToImageModel } from '../../../plugins/models/text-to-image-model.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { readLoraFile } from '../../../plugins/persist/formats/lora-file.js';
import { readSafetensors } from '../../../plugins/persist/formats/safetensors.js';
import { saveLora } from '../../../plugins/persist/save-lora.js';
import { ema } from '../../../plugins/weights/ema.js';
import { pipelineFolder } from '../../support/pipelines.js';

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

/** A tiny Stable Diffusion 2 with v prediction, as diffusers writes it, trained for a step, into a folder. */
async function trained(name: string, more: AnyPlugin[] = []) {
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
      textToImageModel({ from: pipelineFolder('sd21'), train: 'nothing' }),
      lora({ ...options, textTargets: TEXT_ATTENTION_TARGETS }),
      arrays({ x }, { batchSize: 3, strings: { text: captions } }),
      objective(),
      adamw(),
      saveLora(join(place, name), options),
      peek,
    ).with(...more),
  ).train();
  return model as TextToImage;
}

test('adapters of denoiser and text encoder are written in two forms, which hold the same', async () => {
  const model = await trained('cats');
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

test('averaged ones stand apart', async () => {
  await trained('both', [ema({ decay: 0.5 })]);
  expect((await readdir(join(place, 'both'))).sort()).toEqual(['averaged', 'both.kohya.safetensors', 'pytorch_lora_weights.safetensors']);
  expect(await readdir(join(place, 'both', 'averaged'))).toEqual(['both.kohya.safetensors', 'pytorch_lora_weights.safetensors']);
});

test('a model that is none of Stable Diffusion has no kohya form', async () => {
  const model = tf.sequential({ layers: [tf.layers.dense({ units: 2, inputShape: [1], name: 'one' })] });
  const towardsZero: Plugin = {
    name: 'towards-zero',
    fills: OBJECTIVE,
    loss: (context, model, { tensors: { x } }) => model.forward(context, { x }).square().mean() as tf.Scalar,
  };
  await trained('layers', [layersModel(model), lora({ below: '', rank: 2, targets: ['one'] }), towardsZero, ema({ decay: 0.5 })]);
  expect((await readdir(join(place, 'layers'))).sort()).toEqual(['averaged', 'pytorch_lora_weights.safetensors']);
  expect(await readdir(join(place, 'layers', 'averaged'))).toEqual(['pytorch_lora_weights.safetensors']);
  model.dispose();
});
