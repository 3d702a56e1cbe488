import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { type Model, seededRandom, Trainer } from '../../core/index.js';
import { buildTextToImage } from '../../plugins/models/stable-diffusion/build.js';
import { buildAutoencoder } from '../../plugins/models/vae/autoencoder.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { introduction } from '../../presets/common/introduction.js';
import { type ModelOptions, modelRows } from '../../presets/common/model-rows.js';
import { emojiBaseFolder } from '../../presets/common/package-root.js';
import { emojiAutoencoderConfig } from '../../presets/emoji/model.js';
import { smallModel } from '../support/small-model.js';
import { smallRun } from '../support/small-run.js';

test('a run says what it is, and after some steps how long it will take', async () => {
  const said: string[] = [];
  await new Trainer(
    smallRun({ steps: 120 }).with(introduction({ outputDir: 'runs/x', trainDataDir: 'mine' }, (text) => said.push(text))),
  ).train();
  expect(said.slice(0, -1)).toEqual([
    'model    one of your own',
    'images   12 in mine',
    'trained  6 of 6 parameters',
    'batch    4 = 4 x accumulation 1 x processes 1',
    'length   120 steps, 40 epochs of 3',
    'memory   0.0000229 MiB of weights, 0.0000610 MiB of the optimizer, and what a step takes',
    'output   runs/x',
  ]);
  expect(said.at(-1)).toMatch(/^time {5}about \d+ s for the 90 steps that are left$/);
});

test('short runs do not say how long they take', async () => {
  const said: string[] = [];
  await new Trainer(smallRun({ steps: 40 }).with(introduction({ outputDir: 'x', datasetName: 'a/b' }, (text) => said.push(text)))).train();
  expect(said.at(-1)).toBe('output   x');
  expect(said[1]).toBe('images   12 in a/b');
});

/** What is said of a model, which is freed. */
async function rowsOf(built: Promise<Model>, options: ModelOptions = {}) {
  const model = await built;
  const rows = modelRows(model, options);
  for (const { variable } of model.parameters.values()) variable.dispose();
  return rows;
}

test('a model is said with where it comes from, its sizes and its words', async () => {
  const read = (from: string) => buildTextToImage({ from: folder(from), train: 'nothing' }, seededRandom(0));
  const path = fileURLToPath(new URL('../fixtures/pipelines/sdxl', import.meta.url));
  const options = { pretrainedModelNameOrPath: path, pretrainedVaeModelNameOrPath: 'other', resolution: 32 };
  expect(await rowsOf(read(path), options)).toEqual([
    ['model', `SDXL from ${path}, with the autoencoder of other, at 32 pixels`],
    ['words', expect.stringMatching(/^[\d,]+ tokens in the vocabulary, \d+ of a caption at once$/)],
  ]);
  expect(await rowsOf(read(emojiBaseFolder()))).toEqual([
    ['model', `Stable Diffusion 1 from the emoji base that comes with the package (${emojiBaseFolder()}), at 128 pixels`],
    ['words', '3,473 tokens in the vocabulary, 14 of a caption at once'],
  ]);
  const fresh = buildTextToImage({ from: smallModel(['a', 'cat'], 1), train: 'everything' }, seededRandom(0));
  expect(await rowsOf(fresh)).toEqual([
    ['model', 'Stable Diffusion 1, a new one, at 32 pixels'],
    ['words', '516 tokens in the vocabulary, 14 of a caption at once'],
  ]);
});

test('so is an autoencoder, with its latents', async () => {
  const path = fileURLToPath(new URL('../fixtures/pipelines/sd15', import.meta.url));
  const read = buildAutoencoder(folder(path), seededRandom(0));
  expect(await rowsOf(read, { pretrainedVaeModelNameOrPath: path, resolution: 32 })).toEqual([
    ['model', `autoencoder from ${path}, at 32 pixels; latents of 4 channels, 16 x 16`],
  ]);
  const fresh = buildAutoencoder(emojiAutoencoderConfig(64), seededRandom(0));
  expect(await rowsOf(fresh, { vaeConfig: 'small.json' })).toEqual([
    ['model', 'autoencoder, a new one of small.json, at 64 pixels; latents of 4 channels, 8 x 8'],
  ]);
});
