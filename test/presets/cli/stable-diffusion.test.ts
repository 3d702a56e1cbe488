import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readSafetensors } from '../../../plugins/persist/formats/safetensors.js';
import { inThisProcess } from '../../support/command-line.js';

const pipeline = (name: string) => fileURLToPath(new URL(`../../fixtures/pipelines/${name}`, import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  for (const [i, background] of ['red', 'green', 'blue'].entries()) {
    await sharp({ create: { width: 16, height: 16, channels: 3, background } }).toFile(join(folder, `${i}.png`));
    await writeFile(join(folder, `${i}.txt`), 'the cat');
  }
});
afterAll(() => rm(folder, { recursive: true }));

const steploom = (...args: string[]) => inThisProcess(folder, args);

test('an SDXL is trained with LoRA, drawn and saved as a folder and as one file, which are models again', async () => {
  const model = ['--pretrained_model_name_or_path', pipeline('sdxl'), '--device', 'wasm'];
  const trained = await steploom(
    ...[
      'train',
      'lora-text-to-image',
      ...model,
      '--variant',
      'fp16',
      '--train_data_dir',
      '.',
      '--output_dir',
      'run',
      '--cache_dir',
      'cache',
    ],
    ...['--max_train_steps', '3', '--train_batch_size', '2', '--lr_warmup_steps', '0', '--quiet', '--long_captions', 'chunk'],
    ...['--validation_prompt', 'a red cat', '--num_inference_steps', '2'],
  );
  expect(trained).toMatchObject({ code: 0 });
  expect(trained.err).toMatch(/text_encoder has no variant fp16/);
  // Square pictures; and each option has its effect.
  expect(trained.err).not.toMatch(/not kept|no effect/);
  const left = await readdir(join(folder, 'run'));
  for (const name of ['pytorch_lora_weights.safetensors', 'run.kohya.safetensors', 'grid-after.png']) expect(left).toContain(name);
  expect((await readdir(join(folder, 'cache'), { recursive: true })).filter((name) => name.endsWith('.safetensors'))).toHaveLength(5);

  const sample = (output: string, ...more: string[]) =>
    steploom('sample', '--device', 'wasm', '--prompt', 'a red cat', '--num_inference_steps', '2', '--output', output, ...more);
  expect(await sample('a.png', '--pretrained_model_name_or_path', pipeline('sdxl'), '--lora', 'run')).toMatchObject({ code: 0 });
  expect(await steploom('merge', ...model, '--lora', 'run', '--output_dir', 'merged')).toMatchObject({ code: 0 });
  expect(await sample('b.png', '--pretrained_model_name_or_path', 'merged')).toMatchObject({ code: 0 });
  const [a, b] = await Promise.all(['a.png', 'b.png'].map((name) => sharp(join(folder, name)).raw().toBuffer()));
  expect(a.equals(b)).toBe(true);

  const convert = (...more: string[]) => steploom('convert', '--device', 'wasm', '--input', 'merged', ...more);
  expect(await convert('--output', 'whole.safetensors', '--to', 'single-file')).toMatchObject({ code: 0 });
  const file = readSafetensors(await readFile(join(folder, 'whole.safetensors'))).tensors;
  for (const name of [
    'model.diffusion_model.label_emb.0.0.weight',
    'first_stage_model.quant_conv.weight',
    'conditioner.embedders.1.model.text_projection',
  ])
    expect([...file.keys()]).toContain(name);
  expect(await convert('--output', 'whole.safetensors', '--to', 'single-file')).toMatchObject({
    code: 2,
    err: expect.stringMatching(/holds something/),
  });
  expect(await convert('--output', 'folder', '--to', 'single-file')).toMatchObject({
    code: 2,
    err: expect.stringMatching(/no name for a single-file/),
  });
});

test('what cannot be read is refused by name before anything is written', async () => {
  await writeFile(join(folder, 'model.ckpt'), 'PK');
  const args = ['--train_data_dir', '.', '--output_dir', 'never', '--max_train_steps', '1', '--device', 'wasm'];
  const ckpt = await steploom('train', 'lora-text-to-image', ...args, '--pretrained_model_name_or_path', 'model.ckpt');
  expect([ckpt.code, ckpt.err]).toEqual([2, expect.stringMatching(/model\.ckpt is a pickle file, in which code could be/)]);
  const odd = await steploom(
    'train',
    'lora-text-to-image',
    ...args,
    '--pretrained_model_name_or_path',
    pipeline('sd15'),
    '--resolution',
    '33',
  );
  expect([odd.code, odd.err]).toEqual([
    2,
    expect.stringMatching(/OPTION_INVALID \(resolution\): the model works on blocks of 2 x 2 pixels, resolution is 33/),
  ]);
  const idle = await steploom(
    ...['sample', '--prompt', 'x', '--pretrained_model_name_or_path', 'absent', '--guidance_scale', '1', '--negative_prompt', 'y'],
  );
  expect([idle.code, idle.err]).toEqual([2, expect.stringMatching(/^--negative_prompt has no effect with --guidance_scale 1\n/)]);
  expect(await readdir(folder)).not.toContain('never');
});
