import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Trainer } from '../../../core/index.js';
import { SCHEDULES } from '../../../presets/common/schedules.js';
import { loraTextToImage } from '../../../presets/lora-text-to-image.js';
import { inThisProcess } from '../../support/command-line.js';

let folder: string;
const pipeline = fileURLToPath(new URL('../../fixtures/pipelines/sd15', import.meta.url));
const steploom = (...args: string[]) => inThisProcess(folder, args);
const small = ['--pretrained_model_name_or_path', pipeline, '--resolution', '16', '--device', 'wasm', '--threads', '1', '--center_crop'];
const lora = ['lora-text-to-image', '--train_data_dir', 'images', '--train_batch_size', '2', ...small];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  for (const name of ['images', 'held']) {
    await mkdir(join(folder, name));
    for (let i = 0; i < 5; i++) {
      const background = { r: 50 * i, g: 90, b: 200 };
      await sharp({ create: { width: 16, height: 16, channels: 3, background } }).toFile(join(folder, name, `${i}.png`));
      await writeFile(join(folder, name, `${i}.txt`), i % 2 ? 'red' : 'heart');
    }
  }
});
afterAll(() => rm(folder, { recursive: true }));

test('a fast dev run makes one of everything, and leaves nothing', async () => {
  const everything = ['--validation_data_dir', 'held', '--validation_steps', '100', '--validation_prompt', 'red', '--report_to', 'all'];
  const length = ['--max_train_steps', '5000', '--lr_warmup_steps', '600', '--lr_scheduler', 'cosine', '--checkpointing_steps', '900'];
  const { code, err } = await steploom('train', ...lora, ...everything, ...length, '--output_dir', 'new/run', '--fast_dev_run');
  expect(err).toMatch(/images {3}2 in images/);
  expect(err).toMatch(/length {3}1 step, 1 epoch of 1\n/);
  expect(err).toMatch(/step 1\/1 {2}loss \d/);
  expect(err).toMatch(/step 1\/1 {2}loss\.held \d/);
  // The pictures before, at the step and after, log, table, TensorBoard's file, checkpoint and adapters.
  expect(err).toMatch(/one step of everything went well; the \d+ files and folders that it wrote are deleted/);
  expect(err).not.toMatch(/^wrote|saved|no effect/m);
  expect(code).toBe(0);
  expect(await readdir(folder)).toEqual(['held', 'images']);
});

test('one that fails leaves nothing either, nor does it touch what was there', async () => {
  await mkdir(join(folder, 'old'));
  await writeFile(join(folder, 'old', 'notes.txt'), 'mine');
  const { code, err } = await steploom(
    'train',
    ...lora,
    '--output_dir',
    'old',
    '--fast_dev_run',
    '--learning_rate',
    '1e30',
    '--max_grad_norm',
    '0',
  );
  expect(err).toMatch(/NON_FINITE/);
  expect(code).not.toBe(0);
  expect(await readdir(join(folder, 'old'))).toEqual(['notes.txt']);
});

test.each(SCHEDULES)('a fast dev run works with the schedule %s', async (lrScheduler) => {
  const rules = lrScheduler === 'piecewise_constant' ? { lrStepRules: '1:500,0.1' } : {};
  const given = {
    trainDataDir: join(folder, 'images'),
    pretrainedModelNameOrPath: pipeline,
    resolution: 16,
    device: 'wasm',
    threads: 1,
  } as const;
  const preset = await loraTextToImage({ ...given, ...rules, lrScheduler, outputDir: join(folder, 'dev'), fastDevRun: true, quiet: true });
  const { step, written } = await new Trainer(preset).train();
  expect(step).toBe(1);
  expect(written.length).toBeGreaterThan(1);
  expect(existsSync(join(folder, 'dev'))).toBe(false);
});

test('DreamBooth’s class pictures are few and elsewhere in a fast dev run', async () => {
  const things = ['--instance_data_dir', 'images', '--instance_prompt', 'red', '--class_data_dir', 'class', '--class_prompt', 'heart'];
  const { code, err } = await steploom(
    'train',
    'dreambooth-lora',
    ...things,
    '--with_prior_preservation',
    '--train_batch_size',
    '1',
    ...small,
    '--fast_dev_run',
  );
  expect(err).toMatch(/class pictures 1\/1/);
  expect(code).toBe(0);
  expect(existsSync(join(folder, 'class'))).toBe(false);
});

test('a limited data set trains on the same examples in every epoch', async () => {
  const { code, err } = await steploom('train', ...lora, '--limit_items', '3', '--num_train_epochs', '1', '--output_dir', 'limited');
  expect(err).toMatch(/images {3}3 in images/);
  expect(err).toMatch(/length {3}2 steps/);
  expect(code).toBe(0);
});

test('find-lr draws a plot and suggests; find-batch-size tells the largest; neither trains', async () => {
  const { code, out, err } = await steploom('find-lr', ...lora, '--output_dir', 'found');
  expect(err).toMatch(/steps tried 50\/100/);
  expect(out).toMatch(/tried \d+ rates, up to \S+\n|where the loss rose/);
  expect(out).toMatch(/suggestion: --learning_rate \d|no suggestion/);
  expect(out).toContain(`wrote ${join('found', 'learning-rate.png')}`);
  expect(code).toBe(0);
  expect(await readdir(join(folder, 'found'))).toEqual(['learning-rate.png']);
  const { width, height } = await sharp(join(folder, 'found', 'learning-rate.png')).metadata();
  expect([width, height]).toEqual([720, 348]);

  const sizes = await steploom('find-batch-size', ...lora, '--output_dir', 'none', '--most', '3');
  expect(sizes.err).toMatch(/1: \S+ s, \S+ examples a second\n2: .*\n3: /);
  expect(sizes.out).toBe('the largest that fits: --train_batch_size 3\n');
  expect(existsSync(join(folder, 'none'))).toBe(false);
  const wrong = await steploom('find-batch-size', ...lora, '--most', 'many');
  expect([wrong.code, wrong.err]).toEqual([2, expect.stringMatching(/--most is "many": expected a whole number/)]);
});
