import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ModuleFacts, Snapshot, TensorData } from '../../../core/index.js';
import { folder } from '../../../plugins/persist/formats/folder.js';
import { writeSafetensors } from '../../../plugins/persist/formats/safetensors.js';
import { writeSnapshot } from '../../../plugins/persist/formats/snapshot-files.js';
import { findAdapter, parseAdapter } from '../../../presets/cli/adapters.js';

let place: string;
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'steploom-adapters-'));
});
afterAll(() => rm(place, { recursive: true }));

const modules = new Map<string, ModuleFacts>([
  ['unet.a.to_q', { kind: 'linear', weight: 'unet.a.to_q.weight', shape: [3, 4] }],
  ['unet.a.conv1', { kind: 'conv2d', weight: 'unet.a.conv1.weight', shape: [3, 3, 2, 5] }],
]);
const numbers = (...shape: number[]): TensorData => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i + 1),
});
const weights = (prefix = '') =>
  writeSafetensors({ [`${prefix}a.to_q.lora_A.weight`]: numbers(2, 3), [`${prefix}a.to_q.lora_B.weight`]: numbers(4, 2) });

test('what stands behind the last colon is how much of an adapter is used, if it is a number', async () => {
  const there = join(place, 'my:0.5');
  await writeFile(there, '');
  expect(parseAdapter('a.safetensors')).toEqual({ path: 'a.safetensors', share: 1 });
  expect(parseAdapter('a.safetensors:0.8')).toEqual({ path: 'a.safetensors', share: 0.8 });
  expect(parseAdapter('a:b:-1e-1')).toEqual({ path: 'a:b', share: -0.1 });
  expect(parseAdapter('a:.5')).toEqual({ path: 'a', share: 0.5 });
  expect(parseAdapter('C:\\loras\\a.safetensors')).toEqual({ path: 'C:\\loras\\a.safetensors', share: 1 });
  expect(parseAdapter('C:\\loras\\a.safetensors:2')).toEqual({ path: 'C:\\loras\\a.safetensors', share: 2 });
  expect(parseAdapter(there)).toEqual({ path: there, share: 1 });
  expect(parseAdapter(`${there}:0.25`)).toEqual({ path: there, share: 0.25 });
  for (const share of ['', 'half', '0,8', 'NaN', '1e999'])
    expect(() => parseAdapter(`${there}:${share}`), share).toThrow(`OPTION_INVALID (lora): ${there}:${share}: "${share}" is no number`);
});

test('a file, the folder of a run, one of peft’s with its configuration', async () => {
  await writeFile(join(place, 'pytorch_lora_weights.safetensors'), weights('unet.'));
  for (const given of [place, join(place, 'pytorch_lora_weights.safetensors')])
    expect((await findAdapter(given)).read(modules)).toMatchObject([{ path: 'unet.a.to_q', rank: 2, alpha: 2, scale: 1 }]);
  const peft = join(place, 'peft');
  await mkdir(peft);
  await writeFile(join(peft, 'adapter_model.safetensors'), weights('base_model.model.'));
  await writeFile(join(peft, 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', r: 2, lora_alpha: 6, use_rslora: true }));
  for (const given of [peft, join(peft, 'adapter_model.safetensors')])
    expect((await findAdapter(given)).read(modules)).toMatchObject([{ path: 'unet.a.to_q', alpha: 6, scale: 6 / Math.sqrt(2) }]);
});

test('a checkpoint’s adapters, as files have them', async () => {
  const snapshot = (settings: object, parameters: Record<string, TensorData>) =>
    ({ version: 3, step: 1, plugins: {}, settings, parameters }) as unknown as Snapshot;
  const into = async (name: string, ...of: Parameters<typeof snapshot>) => {
    await writeSnapshot(folder(join(place, name)), snapshot(...of));
    return join(place, name);
  };
  const matrices = {
    'unet.a.to_q.weight': numbers(3, 4),
    'unet.a.to_q.lora_A.weight': numbers(3, 2),
    'unet.a.to_q.lora_B.weight': numbers(2, 4),
    'unet.a.conv1.lora_A.weight': numbers(3, 3, 2, 2),
    'unet.a.conv1.lora_B.weight': numbers(1, 1, 2, 5),
  };
  const found = (await findAdapter(await into('whole', { lora: { rank: 2, alpha: 6, rslora: false } }, matrices))).read(modules);
  expect(found.map(({ path, rank, scale, a, b }) => [path, rank, scale, a.shape, b.shape])).toEqual([
    ['unet.a.conv1', 2, 3, [2, 2, 3, 3], [5, 2, 1, 1]],
    ['unet.a.to_q', 2, 3, [2, 3], [4, 2]],
  ]);
  expect([...found[1].a.data]).toEqual([1, 3, 5, 2, 4, 6]);
  const settings = { lora: { rank: 2, alpha: 6, rslora: false, rankPattern: { conv1: 4 }, alphaPattern: { to_q: 8 }, dora: true } };
  const dora = await into('dora', settings, { ...matrices, 'unet.a.to_q.lora_magnitude_vector': numbers(4) });
  const [, toQ] = (await findAdapter(dora)).read(modules);
  expect([toQ.scale, toQ.magnitude && Array.from(toQ.magnitude.data)]).toEqual([4, [1, 2, 3, 4]]);
  const refused = async (...of: [string, ...Parameters<typeof snapshot>]) =>
    expect(findAdapter(await into(...of)).then((found) => found.read(modules))).rejects;
  await (await refused('none', {}, matrices)).toThrow(/LORA_MISMATCH.*none: it is the checkpoint of a run without LoRA/);
  const lora = { lora: { rank: 2, alpha: 6 } };
  await (await refused('other', lora, { 'unet.b.lora_A.weight': numbers(3, 2), 'unet.b.lora_B.weight': numbers(2, 4) })).toThrow(
    /LORA_MISMATCH.*other: the model has no module unet.b/,
  );
  await (await refused('wide', lora, { ...matrices, 'unet.a.to_q.lora_A.weight': numbers(7, 2) })).toThrow(
    /LORA_MISMATCH.*wide: unet.a.to_q has shapes \[2,7\]/,
  );
});

test('what cannot be read is named', async () => {
  await expect(findAdapter(join(place, 'absent'))).rejects.toThrow(/FILE_MISSING.*absent/);
  await writeFile(join(place, 'a.bin'), 'x');
  await expect(findAdapter(join(place, 'a.bin'))).rejects.toThrow(/BAD_SAFETENSORS.*a.bin is a pickle file/);
  await writeFile(join(place, 'a.safetensors'), 'x');
  await expect(findAdapter(join(place, 'a.safetensors'))).rejects.toThrow(/BAD_SAFETENSORS.*a.safetensors/);
});
