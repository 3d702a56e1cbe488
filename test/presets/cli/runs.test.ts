import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLI, inOwnProcess, inThisProcess } from '../../support/command-line.js';
import { pipeline, small, threeImages, tiny } from '../../support/three-images.js';

let folder: string;

const steploom = (...args: string[]) => inThisProcess(folder, args);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  await threeImages(folder);
});
afterAll(() => rm(folder, { recursive: true }));

describe('training', () => {
  test('a folder of images with LoRA: adapter, log, plot, grids; sample and merge go on from it', async () => {
    const run = await inOwnProcess(folder, [
      'train',
      'lora-text-to-image',
      ...small,
      '--max-train-steps',
      '3',
      '--learning-rate=1e-3',
      '--logging_steps',
      '1',
      '--validation_prompt',
      'ghost',
      'heart',
      '--num_inference_steps',
      '2',
      '--output_dir',
      'run',
      '--profile',
      'trace.json',
      '--report_to',
      'csv,tensorboard',
      '--scale_lr',
      '--lr_warmup_steps',
      '2',
      '--cache_latents',
      '--allow_tf32',
      '--logging_dir',
      'tensorboard',
    ]);
    expect(run.err).toContain('step 3/3');
    expect(run.err).toMatch(
      /^model +Stable Diffusion 1 from the emoji base .*, at 128 pixels\nwords +[\d,]+ tokens .*\nimages +\d+ in images\npictures +\d+ x \d+.* pixels.*\ntrained +[\d,]+ of [\d,]+ parameters\nbatch +2 = /m,
    );
    expect(run.err).toMatch(
      /done: step 3; 3 steps in \d.*\nloss \S+, the mean of the last 3 [\s\S]*wrote \S+log\.jsonl, [\s\S]*saved \S+checkpoint-3; go on with/,
    );
    expect(run.err).toContain('latents 3/3');
    expect(run.err).toMatch(/learning rate 0.001 is scaled to 0.002/);
    expect(run.err).toMatch(/notice: --lr_warmup_steps has no effect with --lr_scheduler constant/);
    expect(run.err).toContain('foreign-flags: --allow_tf32 has no effect here: ');
    expect(run.out).toMatch(/beforeStep +clipping +3/);
    for (const part of ['forward', 'backward', 'optimizer', 'loading', 'waiting for the device'])
      expect(run.out).toMatch(new RegExp(`^core +${part} +3 +[\\d.]+$`, 'm'));
    expect(run.code).toBe(0);
    // Complete events of the Trace Event Format, whose calls lie within one another or apart, as a viewer draws them.
    const { traceEvents } = JSON.parse(await readFile(join(folder, 'trace.json'), 'utf8')) as {
      traceEvents: { name: string; ph: string; ts: number; dur: number }[];
    };
    expect(traceEvents.every(({ ph, ts, dur }) => ph === 'X' && ts >= 0 && dur >= 0)).toBe(true);
    expect(traceEvents.filter(({ name }) => name === 'forward')).toHaveLength(3);
    expect((await readdir(join(folder, 'run'))).sort()).toEqual([
      'checkpoint-3',
      'grid-after.png',
      'grid-before.png',
      'log.csv',
      'log.jsonl',
      'plot.png',
      'pytorch_lora_weights.safetensors',
      'run.json',
      'run.kohya.safetensors',
      'tensorboard',
    ]);
    const log = (await readFile(join(folder, 'run', 'log.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(log.map((r) => [r.step, r.learningRate])).toEqual([
      [1, 0.002],
      [2, 0.002],
      [3, 0.002],
    ]);
    expect(log.every((r) => r.loss > 0 && r.gradientNorm > 0)).toBe(true);

    const sample = await steploom(
      'sample',
      '--prompt',
      'a ghost',
      '--lora',
      'run',
      '--num_inference_steps',
      '2',
      '--device',
      'wasm',
      '--output',
      'ghost.png',
      '--sampler',
      'dpm-solver++',
    );
    expect([sample.code, sample.out]).toEqual([0, 'wrote ghost.png\n']);
    const { width: side, comments } = await sharp(join(folder, 'ghost.png')).metadata();
    expect(side).toBe(128);
    expect(comments).toEqual([
      {
        keyword: 'parameters',
        text: 'a ghost <lora:run:1>\nSteps: 2, Sampler: DPM++ 2M, CFG scale: 2, Seed: 0, Size: 128x128, Model: steploom emoji base, Version: steploom 0.1.0',
      },
    ]);

    // The run's last checkpoint has the same adapter; with nothing of it the base draws something else.
    const draw = ['sample', '--prompt', 'a ghost', '--num_inference_steps', '2', '--device', 'wasm', '--sampler', 'dpm-solver++'];
    const drawn = async (name: string, lora: string[], ...more: string[]) => {
      const given = ['--output', name, ...lora.flatMap((one) => ['--lora', one]), ...more];
      expect(await steploom(...draw, ...given)).toMatchObject({ code: 0, err: '' });
      return sharp(join(folder, name)).raw().toBuffer();
    };
    const ghost = await sharp(join(folder, 'ghost.png')).raw().toBuffer();
    expect((await drawn('of-checkpoint.png', ['run/checkpoint-3'])).equals(ghost)).toBe(true);
    const none = await drawn('none.png', ['run:0']);
    expect(none.equals(ghost)).toBe(false);
    // What is added and taken away again is rounded.
    const both = await drawn('both.png', ['run', 'run:-1']);
    expect(Math.max(...both.map((value, i) => Math.abs(value - none[i])))).toBeLessThanOrEqual(1);

    const many = ['--sampler', 'euler', '--num_images_per_prompt', '2', '--height', '64', '--width', '96'];
    await drawn('many.png', [], ...many);
    const { width, height } = await sharp(join(folder, 'many.png')).metadata();
    expect([width, height]).toEqual([(2 * 97 + 1) * 8, (65 + 1) * 8]);
    await writeFile(join(folder, 'prompts.txt'), 'a red heart\r\n\na blue heart\n');
    const listed = await drawn('listed.webp', [], '--prompts_file', 'prompts.txt', '--negative_prompt', 'green', '--seed', '7');
    const { format, width: wide, exif } = await sharp(join(folder, 'listed.webp')).metadata();
    expect([format, wide, listed.length > 0]).toEqual(['webp', 3 * 129 + 1, true]);
    const comment = 'a ghost\na red heart\na blue heart\nNegative prompt: green\nSteps: 2, ';
    expect(exif?.includes(Buffer.from(comment, 'utf16le').swap16())).toBe(true);
    const odd = await steploom(...draw, '--height', '33');
    expect([odd.code, odd.err]).toEqual([2, expect.stringMatching(/height is 33, and the model draws in blocks of 8 x 8 pixels/)]);
    const useless = await steploom(...draw, '--guidance_scale', '1', '--negative_prompt', 'red');
    expect([useless.code, useless.err]).toEqual([2, expect.stringMatching(/a negative prompt is given, but guidance is 1/)]);

    const merge = await steploom('merge', '--lora', 'run', '--output_dir', 'merged', '--device', 'wasm', '--half');
    expect(merge.code).toBe(0);
    const again = await steploom('merge', '--lora', 'run', '--output_dir', 'merged', '--device', 'wasm');
    expect([again.code, again.err]).toEqual([2, expect.stringMatching(/merged holds something already.*--overwrite_output_dir/)]);
    expect(
      (
        await steploom(
          'sample',
          '--prompt',
          'a ghost',
          '--pretrained_model_name_or_path',
          'merged',
          '--num_inference_steps',
          '1',
          '--device',
          'wasm',
        )
      ).code,
    ).toBe(0);
  });

  test('the whole model, with an average, stops at a checkpoint and goes on', async () => {
    const args = [
      'train',
      'text-to-image',
      ...tiny,
      '--use_ema',
      '--output_dir',
      'whole',
      '--checkpointing_steps',
      '2',
      '--logging_steps',
      '1',
      '--quiet',
    ];
    expect((await steploom(...args, '--max_train_steps', '2')).code).toBe(0);
    expect(existsSync(join(folder, 'whole', 'checkpoint-2', 'state.safetensors'))).toBe(true);
    expect((await steploom(...args, '--max_train_steps', '4', '--resume_from_checkpoint', 'latest')).code).toBe(0);
    const steps = (await readFile(join(folder, 'whole', 'log.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).step);
    expect(steps).toEqual([1, 2, 3, 4]);
    // The averaged weights stand beside the model's own, never in their place.
    const unet = (name: string) => readFile(join(folder, 'whole', name, 'unet', 'diffusion_pytorch_model.safetensors'));
    expect((await unet('model')).equals(await unet('model-averaged'))).toBe(false);
    expect(JSON.parse(await readFile(join(folder, 'whole', 'model', 'unet', 'config.json'), 'utf8'))).toHaveProperty('in_channels');
    // Over the model that it starts from it is not written.
    const over = await steploom(...args, '--max_train_steps', '2', '--pretrained_model_name_or_path', 'whole/model');
    expect([over.code, over.err]).toEqual([
      2,
      expect.stringMatching(/OPTION_INVALID \(run-folder\): whole\/model would be moved aside or written over/),
    ]);
  });

  test('held-out images, pictures on the way, the best kept, broken images left out, a page; ended early, and shown by steploom ui', async () => {
    await cp(join(folder, 'images'), join(folder, 'mixed'), { recursive: true });
    await writeFile(join(folder, 'mixed', 'torn.png'), 'no picture');
    await appendFile(join(folder, 'mixed', 'metadata.jsonl'), '\n{"file_name": "torn.png", "text": "torn"}');
    const { code, err } = await steploom(
      ...['train', 'lora-text-to-image', ...tiny, '--train_data_dir', 'mixed', '--skip_bad_images', '--validation_data_dir', 'mixed'],
      // A rate of 0: the held-out loss cannot fall, so that the second evaluation without a better one ends the run.
      ...[
        '--learning_rate',
        '0',
        '--max_train_steps',
        '9',
        '--validation_steps',
        '1',
        '--early_stopping_patience',
        '2',
        '--logging_steps',
        '1',
      ],
      ...[
        '--validation_prompt',
        'ghost',
        '--num_inference_steps',
        '2',
        '--checkpoint_best',
        'loss.held',
        '--ui',
        '--output_dir',
        'runs/watched',
      ],
    );
    expect(err).toMatch(/1 images are left out: .*torn\.png/);
    expect(err).toMatch(/this run: http:\/\/127\.0\.0\.1:\d+\//);
    expect(code).toBe(0);
    const records = (await readFile(join(folder, 'runs/watched/log.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const held = records.filter((r) => r['loss.held'] !== undefined);
    expect(new Set(held.map((r) => r['loss.held'])).size).toBe(1);
    expect(held.length).toBeGreaterThanOrEqual(3);
    expect(Math.max(...records.map((r) => r.step))).toBe(4);
    const left = await readdir(join(folder, 'runs/watched'));
    expect(left).toEqual(
      expect.arrayContaining(['grid-1.png', 'grid-2.png', 'grid-3.png', 'grid-before.png', 'grid-after.png', 'best.json']),
    );

    const child = spawn(process.execPath, [CLI, 'ui', 'runs'], { cwd: folder });
    const address = await new Promise<string>((resolve) => child.stdout.once('data', (text) => resolve(String(text).trim())));
    const runs = (await (await fetch(address.replace('/?', '/data?'))).json()) as { name: string; records: unknown[] }[];
    expect(runs.map(({ name, records: shown }) => [name, shown.length])).toEqual([['watched', records.length]]);
    child.kill('SIGTERM');
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
  });

  test('a configuration file gives options and plugins; flags win', async () => {
    await writeFile(
      join(folder, 'steploom.config.ts'),
      `type Rate = number;
       const rate: Rate = 5e-4;
       export default { trainDataDir: 'images', device: 'wasm', threads: 1, pretrainedModelNameOrPath: ${JSON.stringify(pipeline)}, resolution: 16, train_batch_size: 2, lrWarmupSteps: 0, maxTrainSteps: 9, learningRate: rate, outputDir: 'configured', loggingSteps: 1, quiet: true };
       export const plugins = [{ name: 'halve', apply: ({ hooks }) => hooks.onSchedule.tap('halve', (r) => r / 2) }];`,
    );
    const run = await inOwnProcess(folder, ['train', 'lora-text-to-image', '--config', 'steploom.config.ts', '--max_train_steps', '2']);
    expect([run.code, run.err]).toEqual([0, expect.stringContaining('training on')]);
    const log = (await readFile(join(folder, 'configured', 'log.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(log.map((r) => r.learningRate)).toEqual([2.5e-4, 2.5e-4]);
    await writeFile(join(folder, 'bad.yaml'), 'trainDataDir: images\nlearningRte: 1\n');
    const bad = await steploom('train', 'lora-text-to-image', '--config', 'bad.yaml');
    expect([bad.code, bad.err]).toEqual([2, expect.stringMatching(/OPTION_UNKNOWN.*learningRte/)]);
  });

  test('explain shows who runs when, and the plan', async () => {
    const { code, out } = await steploom(
      'explain',
      'lora-text-to-image',
      ...tiny,
      '--max_train_steps',
      '10',
      '--gradient_accumulation_steps',
      '2',
    );
    expect(code).toBe(0);
    expect(out).toMatch(/beforeStep +clipping -> non-finite-guard/);
    expect(out).toMatch(/effective batch +4 = 2 x window 2 x ranks 1/);
    expect(out).toMatch(/of which trained [\d,]+ in \d+ tensors/);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s stops, saves, and exits with %i', async (signal, expected) => {
    const child = spawn(
      process.execPath,
      [CLI, 'train', 'lora-text-to-image', ...tiny, '--max_train_steps', '100000', '--logging_steps', '1', '--output_dir', signal],
      { cwd: folder },
    );
    let err = '';
    let interrupted = false;
    child.stderr.on('data', (chunk) => {
      err += chunk;
      if (!interrupted && err.includes('step 2/')) {
        interrupted = true;
        child.kill(signal);
      }
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(err).toContain('stopping');
    expect(err).toMatch(
      /stopped after step \d+[\s\S]*saved \S+checkpoint-\d+; go on with the same command and --resume_from_checkpoint latest\n$/,
    );
    expect(code).toBe(expected);
    const left = await readdir(join(folder, signal));
    expect(left).toContain('pytorch_lora_weights.safetensors');
    expect(left.filter((name) => /^checkpoint-\d+$/.test(name))).toHaveLength(1);
  });

  test('devices are listed with reasons', async () => {
    const { out } = await inOwnProcess(folder, ['devices']);
    expect(out).toMatch(/tfjs-node-gpu +does not work: @tensorflow\/tfjs-node-gpu is not installed/);
    expect(out).toMatch(/wasm +works: SIMD/);
    expect(out).toMatch(/cpu +works/);
  });
});
