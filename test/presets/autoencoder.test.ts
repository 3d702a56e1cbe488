import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeContext, seededRandom, Trainer, weightsOf } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { wasm } from '../../plugins/devices/wasm.js';
import { buildAutoencoder } from '../../plugins/models/vae/autoencoder.js';
import { folder as filesIn } from '../../plugins/persist/formats/folder.js';
import { type AutoencoderOptions, autoencoder } from '../../presets/autoencoder.js';

let folder: string;
const at = (...path: string[]) => join(folder, ...path);

const train = async (outputDir: string, maxTrainSteps: number, more: Partial<AutoencoderOptions> = {}) => {
  const given = { trainDataDir: at('images'), outputDir: at(outputDir), maxTrainSteps, device: 'wasm', quiet: true, ...more } as const;
  const settings = {
    trainBatchSize: 4,
    learningRate: 5e-3,
    lrWarmupSteps: 0,
    loggingSteps: 1,
    colourShare: 0.5,
    randomFlip: true,
  } as const;
  const preset = await autoencoder({ vaeConfig: at('config.json'), validationDataDir: at('images'), ...settings, ...given });
  return new Trainer(preset, { warn: () => undefined }).train();
};
const weightsIn = (outputDir: string) => readFile(at(outputDir, 'vae', 'diffusion_pytorch_model.safetensors'));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-autoencoder-'));
  await mkdir(at('images'));
  for (let i = 0; i < 6; i++) {
    const pixels = Uint8Array.from({ length: 16 * 16 * 3 }, (_, k) => 128 + 100 * Math.sin(i + (k % 3) + Math.floor(k / 48) / 3));
    await sharp(pixels, { raw: { width: 16, height: 16, channels: 3 } }).toFile(at('images', `${i}.png`));
  }
  const config = {
    down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D'],
    up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D'],
    block_out_channels: [8, 16],
    norm_num_groups: 4,
    sample_size: 16,
  };
  await writeFile(at('config.json'), JSON.stringify(config));
});
afterAll(() => rm(folder, { recursive: true }));

test('an autoencoder learns pictures without captions, is resumed bit for bit, and is one of diffusers’', async () => {
  const { written } = await train('run', 20);
  expect(written).toContain(at('run', 'vae'));
  const lines = (await readFile(at('run', 'log.jsonl'), 'utf8')).trim().split('\n');
  const log = lines.map((line) => JSON.parse(line) as Record<string, number>);
  const [first, last] = ['loss', 'loss.held', 'psnr.held']
    .map((name) => log.filter((line) => name in line).map((line) => line[name]))
    .map((found) => [found[0], found.at(-1) as number])
    .reduce<[number[], number[]]>(
      ([a, b], [x, y]) => [
        [...a, x],
        [...b, y],
      ],
      [[], []],
    );
  // Of pictures in changed colours, each time others.
  expect(last[0]).toBeLessThan(0.7 * first[0]);
  expect(last[1]).toBeLessThan(first[1] / 2);
  expect(last[2]).toBeGreaterThan(first[2] + 3);

  await train('halves', 11);
  expect((await weightsIn('halves')).equals(await weightsIn('run'))).toBe(false);
  await train('halves', 20, { resumeFromCheckpoint: 'latest' });
  expect((await weightsIn('halves')).equals(await weightsIn('run'))).toBe(true);

  await wasm().setUp();
  const before = tf.memory().numTensors;
  const model = await buildAutoencoder(filesIn(at('run')), seededRandom(0));
  // Latents times the factor have unit variance: of the pictures as they are, in whatever order.
  const { scaling_factor: scaling } = JSON.parse(await readFile(at('run', 'vae', 'config.json'), 'utf8')) as { scaling_factor: number };
  const pixels = await Promise.all(
    Array.from({ length: 6 }, (_, i) =>
      sharp(at('images', `${i}.png`))
        .raw()
        .toBuffer(),
    ),
  );
  const spread = tf.tidy(() => {
    const images = tf.tensor4d(
      Float32Array.from(Buffer.concat(pixels), (x) => x / 127.5 - 1),
      [6, 16, 16, 3],
    );
    const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
    const { variance } = tf.moments(model.encode(context, images).mean.mul(scaling));
    return variance.dataSync()[0];
  });
  expect(spread).toBeCloseTo(1, 2);
  for (const { variable } of model.parameters.values()) variable.dispose();
  expect(tf.memory().numTensors).toBe(before);
});

test.each([
  [{ vaeConfig: undefined }, /OPTION_INVALID.*neither of pretrainedVaeModelNameOrPath and vaeConfig/],
  [{ resolution: 15 }, /OPTION_INVALID.*blocks of 2 x 2 pixels, resolution is 15/],
  [{ vaeConfig: 'nowhere.json' }, /CONFIG_INVALID.*nowhere\.json cannot be read/],
] as [object, RegExp][])('%j is refused', async (options, message) => {
  await expect(autoencoder({ trainDataDir: at('images'), vaeConfig: at('config.json'), quiet: true, ...options })).rejects.toThrow(message);
});
