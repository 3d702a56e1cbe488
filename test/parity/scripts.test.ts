import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { publishedTokenizer } from '../../plugins/models/clip/published-tokenizer.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { readSafetensors, writeSafetensors } from '../../plugins/persist/formats/safetensors.js';
import { testDevices } from '../support/devices.js';
import { script } from '../support/script.js';

// steploom's part of the comparisons with other implementations, at its smallest size: that each runs and hands over what the Python beside it reads.

const file = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const PIPELINE = file('test/fixtures/pipelines/sd15');
let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'steploom-'));
});
afterEach(() => rm(work, { recursive: true }));

test('the main job on several devices', async () => {
  expect(
    await script('parity/main-job.mjs', [
      '4',
      'wasm',
      '--limitItems=4',
      '--trainBatchSize=2',
      `--pretrainedModelNameOrPath=${JSON.stringify(PIPELINE)}`,
    ]),
  ).toMatch(/wasm +\d+ ms a step/);
});

test.runIf((await testDevices()).includes('webgpu'))('products of what is stored in half precision', async () => {
  const errors = [...(await script('parity/half-kernels.mjs', ['1'])).matchAll(/^product 136 .* ([\d.e-]+)$/gm)].map(([, error]) =>
    Number(error),
  );
  expect(errors).toHaveLength(2);
});

test.runIf((await testDevices()).includes('webgpu'))('half precision beside single on one device', async () => {
  expect(await script('parity/half-precision.mjs', ['webgpu', '1'])).toMatch(
    /product +result [\d.e-]+, x [\d.e-]+, w [\d.e-]+\nall within rounding/,
  );
});

test('the packaged base’s output', async () => {
  await script('parity/base-output.mjs', [work]);
  const found = readSafetensors(await readFile(join(work, 'base.safetensors'))).tensors;
  expect(Object.fromEntries([...found].map(([name, { shape }]) => [name, shape]))).toEqual({
    ids: [2, 16],
    states: [2, 16, 128],
    latents: [2, 4, 16, 16],
    output: [2, 4, 16, 16],
    images: [2, 128, 128, 3],
  });
  for (const { data } of found.values()) expect(data.every(Number.isFinite)).toBe(true);
});

test('the tokenizer counts texts whose ids are others', async () => {
  const unpacked = async (path: string) => gunzipSync(await readFile(file(path))).toString('utf8');
  const merges = (await unpacked('presets/clip/merges.txt.gz')).trimEnd().split('\n');
  const padding = '<|endoftext|>';
  await publishedTokenizer(merges, padding).save(folder(work), 'tokenizer');
  const short = (JSON.parse(await unpacked('test/fixtures/tokenizer.json.gz'))[padding] as [string, number[]][]).slice(0, 200);
  const cases = short.map(([text, ids]) => [text, Array.from({ length: 77 }, (_, i) => ids[i] ?? ids.at(-1))]);
  const count = async (wrong: unknown[]) => {
    await writeFile(join(work, 'cases.json'), JSON.stringify([...cases, ...wrong]));
    return script('parity/tokenizer.mjs', [work]);
  };
  expect(await count([])).toContain('0 of 200 differ');
  expect(await count([['a cat', new Array(77).fill(1)]])).toMatch(/1 of 201 differ\n"a cat" 1,1,/);
});

test('what diffusers is to open', async () => {
  await script('parity/opens_in_diffusers.mjs', [PIPELINE, work]);
  expect((await readdir(work)).sort()).toEqual(['attention', 'float16', 'float32', 'images.safetensors', 'more']);
  for (const name of ['attention', 'more']) expect(await readdir(join(work, name))).toContain('pytorch_lora_weights.safetensors');
  for (const name of ['float16', 'float32']) expect(await readdir(join(work, name))).toContain('model_index.json');
  const images = readSafetensors(await readFile(join(work, 'images.safetensors'))).tensors;
  expect([...images.keys()].sort()).toEqual(['attention', 'more', 'plain']);
  for (const { data } of images.values()) expect(data.every((x) => x >= 0 && x <= 1)).toBe(true);
});

test('a model of full size, as a small one', async () => {
  await mkdir(join(work, 'adapter'));
  await symlink(PIPELINE, join(work, 'model'), 'junction');
  const io = readSafetensors(await readFile(join(PIPELINE, 'io.safetensors'))).tensors;
  const given = ['latents', 'noises', 'timesteps'].map((name) => [name, io.get(`train.attention.${name}`)]);
  await writeFile(join(work, 'given.safetensors'), writeSafetensors(Object.fromEntries(given)));
  const printed = await script('parity/full_size.mjs', [work, 'wasm', '2', '2e-4', '2', 'a Red heart, 2 cats!', 'the cat']);
  for (const what of ['device wasm', 'load', 'text states', 'first prediction', '2 losses', 'first step', 'prediction with the adapter'])
    expect(printed).toMatch(new RegExp(`${what}: [\\d.]+ s; host \\d+ MiB`));
  const out = readSafetensors(await readFile(join(work, 'steploom.safetensors'))).tensors;
  // An adapter adds nothing at first: the first loss with it is that of the model as it was.
  const [base, losses] = ['base', 'losses'].map((name) => out.get(name)?.data as Float32Array);
  expect([base.length, losses.length]).toEqual([2, 2]);
  expect(Math.abs(losses[0] / base[0] - 1)).toBeLessThan(1e-5);
  expect(out.get('adapted')?.shape).toEqual(out.get('predicted')?.shape);
  expect(await readdir(join(work, 'adapter'))).toContain('pytorch_lora_weights.safetensors');
});
