import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seededRandom, type TensorData, weightsOf } from '../../../core/index.js';
import { buildTextToImage } from '../../../plugins/models/stable-diffusion/build.js';
import { folder as filesIn } from '../../../plugins/persist/formats/folder.js';
import { readSafetensors, writeSafetensors } from '../../../plugins/persist/formats/safetensors.js';
import { inThisProcess } from '../../support/command-line.js';
import { smallModel } from '../../support/small-model.js';

let folder: string;
const at = (...path: string[]) => join(folder, ...path);
const steploom = (...args: string[]) => inThisProcess(folder, args);
const adapterOf = (run: string) => readFile(at(run, 'pytorch_lora_weights.safetensors'));

const train = (into: string, steps: number, ...more: string[]) =>
  steploom(
    ...[
      'train',
      'lora-text-to-image',
      '--train_data_dir',
      'images',
      '--device',
      'wasm',
      '--train_batch_size',
      '2',
      '--quiet',
      '--lr_warmup_steps',
      '0',
    ],
    ...[
      '--train_text_encoder',
      '--learning_rate',
      '0.05',
      '--pretrained_model_name_or_path',
      'model',
      '--output_dir',
      into,
      '--max_train_steps',
      String(steps),
      ...more,
    ],
  );

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-lora-'));
  await mkdir(at('images'));
  for (const colour of ['red', 'green', 'blue']) {
    await sharp({ create: { width: 40, height: 40, channels: 3, background: colour } }).toFile(at('images', `${colour}.png`));
    await writeFile(at('images', `${colour}.txt`), `${colour} heart`);
  }
  const config = smallModel(['red', 'green', 'blue', 'heart'], 1);
  const unet = { ...config.unet, block_out_channels: [8, 8, 16], norm_num_groups: 2 };
  const model = await buildTextToImage({ from: { ...config, unet }, train: 'nothing' }, seededRandom(1));
  await model.save(filesIn(at('model')), weightsOf(model));
  expect(await train('run', 4)).toMatchObject({ code: 0, err: 'training on wasm\n' });
});
afterAll(() => rm(folder, { recursive: true }));

test('adapters on denoiser and text encoder: saved, and resumed bit for bit, on the model that they began with', async () => {
  const { tensors } = readSafetensors(await adapterOf('run'));
  const trained = (prefix: string) =>
    [...tensors].filter(([key, { data }]) => key.startsWith(prefix) && /\.(up|lora_B)\.weight$/.test(key) && data.some((x) => x !== 0));
  expect(trained('unet.').length).toBeGreaterThan(0);
  expect(trained('text_encoder.text_model.encoder.layers.0.self_attn.').map(([key]) => key.split('.').at(-4))).toEqual([
    'k_proj',
    'out_proj',
    'q_proj',
    'v_proj',
  ]);

  expect(await train('halves', 2)).toMatchObject({ code: 0 });
  const resume = ['--resume_from_checkpoint', 'latest'];
  await cp(at('model'), at('other'), { recursive: true });
  const encoder = at('other', 'text_encoder', 'model.safetensors');
  const bytes = await readFile(encoder);
  bytes[bytes.length - 1] ^= 1;
  await writeFile(encoder, bytes);
  const other = await train('halves', 4, ...resume, '--pretrained_model_name_or_path', 'other');
  expect([other.code, other.err]).toEqual([2, expect.stringMatching(/SNAPSHOT_OTHER_RUN.*text-to-image-model\.base was/)]);
  expect(await train('halves', 4, ...resume)).toMatchObject({ code: 0 });
  // Notes beside the numbers name the folder.
  expect(readSafetensors(await adapterOf('halves')).tensors).toEqual(tensors);
});

test('diffusers’ and kohya’s form draw the same, also mixed; nothing is written over', async () => {
  const convert = ['convert', '--input', 'run', '--output', 'cat.safetensors', '--pretrained_model_name_or_path', 'model'];
  expect(await steploom(...convert, '--to', 'kohya')).toMatchObject({ code: 0, out: expect.stringMatching(/^wrote cat.safetensors: \d+/) });
  const keys = [...readSafetensors(await readFile(at('cat.safetensors'))).tensors.keys()];
  expect(keys.every((key) => /^lora_(unet|te)_\w+\.(lora_down\.weight|lora_up\.weight|alpha)$/.test(key))).toBe(true);
  const again = await steploom(...convert, '--to', 'diffusers');
  expect([again.code, again.err]).toEqual([2, expect.stringMatching(/OPTION_INVALID.*cat.safetensors already.*--overwrite/)]);

  const drawn = async (...loras: string[]) => {
    const given = loras.flatMap((one) => ['--lora', one]);
    const options = [
      '--prompt',
      'red heart',
      '--pretrained_model_name_or_path',
      'model',
      '--num_inference_steps',
      '2',
      '--device',
      'wasm',
      '--output',
      'drawn.png',
      '--overwrite_output',
    ];
    expect(await steploom('sample', ...options, ...given)).toMatchObject({ code: 0, err: '' });
    return sharp(at('drawn.png')).raw().toBuffer();
  };
  const apart = (one: Buffer, other: Buffer) => one.reduce((most, x, i) => Math.max(most, Math.abs(x - other[i])), 0);
  const [none, whole] = [await drawn(), await drawn('run')];
  expect(apart(none, whole)).toBeGreaterThan(20);
  expect((await drawn('cat.safetensors')).equals(whole)).toBe(true);
  expect(apart(await drawn('run:0.25', 'cat.safetensors:.75'), whole)).toBeLessThan(2);
  expect(apart(await drawn('cat.safetensors', 'run:-1'), none)).toBeLessThan(2);
});

test('what is no LoRA, or one of another family, is refused by name before anything is drawn', async () => {
  const ones = (...shape: number[]): TensorData => ({
    dtype: 'float32',
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1),
  });
  const module = 'lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k';
  for (const [end, message] of [
    ['hada_w1_a', /LORA_MISMATCH.*a.safetensors: .*hada_w1_a belongs to LoHa/],
    ['lokr_w1', /LORA_MISMATCH.*belongs to LoKr/],
    ['lora_down.weight', /LORA_MISMATCH.*the adapter is one of SDXL, the model is built like Stable Diffusion 1/],
  ] as const) {
    await writeFile(at('a.safetensors'), writeSafetensors({ [`${module}.${end}`]: ones(2, 2048) }));
    const { code, err } = await steploom('sample', '--prompt', 'x', '--device', 'wasm', '--lora', 'a.safetensors', '--output', 'no.png');
    expect([code, err]).toEqual([2, expect.stringMatching(message)]);
  }
});
