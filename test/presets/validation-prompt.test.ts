import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../core/index.js';
import { dataOf } from '../../plugins/persist/formats/safetensors.js';
import { sha256 } from '../../plugins/persist/formats/sha256.js';
import { loraTextToImage } from '../../presets/lora-text-to-image.js';
import { tf } from '../support/devices.js';

const pipeline = (name: string) => fileURLToPath(new URL(`../fixtures/pipelines/${name}`, import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-drawn-'));
  await mkdir(join(folder, 'images'));
  for (const [i, background] of ['red', 'green', 'blue'].entries()) {
    await sharp({ create: { width: 16, height: 20, channels: 3, background } }).toFile(join(folder, 'images', `${i}.png`));
    await writeFile(join(folder, 'images', `${i}.txt`), `the ${background} cat`);
  }
});
afterAll(() => rm(folder, { recursive: true }));

/** Trains with every kind of draw there is; gives the losses, the adapter, how many tensors there were after each step, and the pictures. */
async function trained(name: string, into: string, options: object) {
  const outputDir = join(folder, into);
  const tensors: number[] = [];
  const count: Plugin = {
    name: 'count',
    apply: ({ hooks }) =>
      hooks.afterStep.tap(() => {
        tensors.push(tf.memory().numTensors);
      }),
  };
  const composition = await loraTextToImage({
    pretrainedModelNameOrPath: pipeline(name),
    trainDataDir: join(folder, 'images'),
    outputDir,
    device: 'wasm',
    threads: 1,
    trainBatchSize: 2,
    maxTrainSteps: 5,
    learningRate: 0.01,
    loggingSteps: 1,
    checkpointingSteps: 100,
    loraDropout: 0.3,
    captionDropout: 0.3,
    noiseOffset: 0.1,
    randomFlip: true,
    quiet: true,
    ...options,
  });
  await new Trainer(composition.with(count), { warn: () => undefined }).train();
  const records = (await readFile(join(outputDir, 'log.jsonl'), 'utf8')).trim().split('\n');
  const losses = records.map((line) => (JSON.parse(line) as { loss: number }).loss);
  // Without the header, which says where the run has written.
  const adapter = await sha256(dataOf(await readFile(join(outputDir, 'pytorch_lora_weights.safetensors'))));
  const pictures = (await readdir(outputDir)).filter((file) => file.endsWith('.png'));
  return { learnt: { losses, adapter, tensors }, pictures: pictures.sort() };
}

const drawing = {
  validationPrompt: ['the red cat', 'a cat'],
  // Two steps an epoch: after the first the fourth step is due twice.
  validationSteps: 2,
  validationEpochs: 2,
  numValidationImages: 2,
  numInferenceSteps: 2,
  // Noise in each step, and prompts that training does not know.
  sampler: 'euler-ancestral',
  negativePrompt: 'blurry',
};

test.each([
  ['sdxl', { centerCrop: true }],
  ['sd15', { trainTextEncoder: true }],
] as const)('pictures that are drawn while %s trains leave losses, weights, draws and tensors as they are', async (name, options) => {
  const plain = await trained(name, `${name}-plain`, options);
  const drawn = await trained(name, `${name}-drawn`, { ...options, ...drawing });
  expect(drawn.learnt).toEqual(plain.learnt);
  expect(new Set(plain.learnt.losses).size).toBe(5);
  expect([plain.pictures, drawn.pictures]).toEqual([
    ['plot.png'],
    ['grid-2.png', 'grid-4.png', 'grid-after.png', 'grid-before.png', 'plot.png'],
  ]);
});
