import { expect, test } from 'vitest';
import type { TensorData } from '../../../../core/index.js';
import { openComponent } from '../../../../plugins/persist/formats/component-weights.js';
import { inMemory } from '../../../../plugins/persist/formats/files.js';
import { writeSafetensors } from '../../../../plugins/persist/formats/safetensors.js';

const tensor = (value: number): TensorData => ({ dtype: 'float32', shape: [1], data: Float32Array.of(value) });
const weights = (values: Record<string, number>) =>
  writeSafetensors(Object.fromEntries(Object.entries(values).map(([name, value]) => [name, tensor(value)])));
const index = (map: unknown) => new TextEncoder().encode(JSON.stringify({ metadata: { total_size: 8 }, weight_map: map }));

/** Opens one component of files in memory; gives its values and what was noted. */
async function opened(files: Record<string, Uint8Array>, folder = 'unet', stem = 'diffusion_pytorch_model', variant?: string) {
  const notes: string[] = [];
  const note = (what: string) => void notes.push(what);
  const tensors = await openComponent(inMemory(new Map(Object.entries(files))), folder, stem, { note, ...(variant ? { variant } : {}) });
  const values: Record<string, number> = {};
  for (const [name, stored] of tensors) values[name] = (await stored.read()).data[0];
  return { values, notes };
}

const stem = 'unet/diffusion_pytorch_model';
const both = { [`${stem}.safetensors`]: weights({ a: 1 }), [`${stem}.fp16.safetensors`]: weights({ a: 2 }) };

test('the variant is taken that was asked for, and else what is there, with a note', async () => {
  expect(await opened(both)).toEqual({ values: { a: 1 }, notes: [] });
  expect(await opened(both, 'unet', 'diffusion_pytorch_model', 'fp16')).toEqual({ values: { a: 2 }, notes: [] });
  const plain = { [`${stem}.safetensors`]: both[`${stem}.safetensors`] };
  expect(await opened(plain, 'unet', 'diffusion_pytorch_model', 'fp16')).toEqual({
    values: { a: 1 },
    notes: ['memory/unet has no variant fp16: the plain ones are taken'],
  });
  const half = { [`${stem}.fp16.safetensors`]: both[`${stem}.fp16.safetensors`] };
  expect(await opened(half)).toEqual({ values: { a: 2 }, notes: ['memory/unet has no plain weights: fp16 taken'] });
  // An autoencoder's own folder.
  expect(await opened({ 'diffusion_pytorch_model.safetensors': weights({ a: 5 }) }, '')).toEqual({ values: { a: 5 }, notes: [] });
});

test.each([
  ['', `${stem}.safetensors.index.json`, '-00001-of-00002.safetensors', '-00002-of-00002.safetensors'],
  ['fp16', `${stem}.safetensors.index.fp16.json`, '.fp16-00001-of-00002.safetensors', '.fp16-00002-of-00002.safetensors'],
  ['fp16', `${stem}.safetensors.fp16.index.json`, '-00001-of-00002.fp16.safetensors', '-00002-of-00002.fp16.safetensors'],
])('several files with an index are one component (variant %j, %s)', async (variant, path, first, second) => {
  const [one, two] = [`diffusion_pytorch_model${first}`, `diffusion_pytorch_model${second}`];
  const files = {
    [path]: index({ b: two, a: one }),
    [`unet/${one}`]: weights({ a: 1 }),
    // One that the index does not name, and one that it says to stand elsewhere.
    [`unet/${two}`]: weights({ a: 9, b: 2, c: 3 }),
  };
  expect((await opened(files, 'unet', 'diffusion_pytorch_model', variant)).values).toEqual({ a: 1, b: 2, c: 3 });
  const { [`unet/${two}`]: _, ...cut } = files;
  await expect(opened(cut, 'unet', 'diffusion_pytorch_model', variant)).rejects.toThrow(
    new RegExp(`FILE_MISSING.*index.*names files that are not there: ${two.replaceAll('.', '\\.')} \\(b\\)`),
  );
  await expect(opened({ ...files, [`unet/${two}`]: weights({ c: 3 }) }, 'unet', 'diffusion_pytorch_model', variant)).rejects.toThrow(
    /WEIGHTS_MISMATCH.*holds b: it does not/,
  );
});

test('an index that is none, or leads elsewhere, is refused', async () => {
  const path = `${stem}.safetensors.index.json`;
  await expect(opened({ [path]: index(['a']) })).rejects.toThrow(/BAD_JSON.*has no weight_map/);
  await expect(opened({ [path]: index({ a: '../vae/x.safetensors' }) })).rejects.toThrow(
    /BAD_JSON.*a stands in "\.\.\/vae\/x\.safetensors"/,
  );
});

test('one file beside an index is taken, and said so', async () => {
  const files = { ...both, [`${stem}.safetensors.index.json`]: index({ a: 'x.safetensors' }), 'unet/x.safetensors': weights({ a: 4 }) };
  const { values, notes } = await opened(files);
  expect(values).toEqual({ a: 1 });
  expect(notes).toEqual([expect.stringMatching(/has both diffusion_pytorch_model\.safetensors and .*index\.json: the first is taken/)]);
});

test('names are today’s', async () => {
  const text = { 'text_model.embeddings.position_ids': 0, 'text_model.final_layer_norm.bias': 1, 'text_projection.weight': 2 };
  expect((await opened({ 'text_encoder/model.safetensors': weights(text) }, 'text_encoder', 'model')).values).toEqual({
    'final_layer_norm.bias': 1,
    'text_projection.weight': 2,
  });
  const vae = { 'encoder.mid_block.attentions.0.query.weight': 1, 'encoder.mid_block.attentions.0.proj_attn.bias': 2 };
  expect((await opened({ 'vae/diffusion_pytorch_model.safetensors': weights(vae) }, 'vae')).values).toEqual({
    'encoder.mid_block.attentions.0.to_q.weight': 1,
    'encoder.mid_block.attentions.0.to_out.0.bias': 2,
  });
  const twice = { 'text_model.final_layer_norm.bias': 1, 'final_layer_norm.bias': 2 };
  await expect(opened({ 'text_encoder/model.safetensors': weights(twice) }, 'text_encoder', 'model')).rejects.toThrow(
    /WEIGHTS_MISMATCH.*final_layer_norm\.bias twice/,
  );
});

test.each([
  ['unet', 'diffusion_pytorch_model', 'diffusion_pytorch_model.bin'],
  ['unet', 'diffusion_pytorch_model', 'diffusion_pytorch_model.fp16.bin'],
  ['text_encoder', 'model', 'pytorch_model.bin'],
  ['text_encoder', 'model', 'pytorch_model.bin.index.json'],
  ['vae', 'diffusion_pytorch_model', 'diffusion_pytorch_model.ckpt'],
])('files that could hold code are refused by name: %s/%s as %s', async (folder, its, name) => {
  await expect(opened({ [`${folder}/${name}`]: new Uint8Array(3) }, folder, its)).rejects.toThrow(
    new RegExp(`BAD_SAFETENSORS.*memory/${folder} has its weights in ${name.replaceAll('.', '\\.')} only.*code`),
  );
});

test('a component without weights is an error', async () => {
  await expect(opened({})).rejects.toThrow(/FILE_MISSING.*memory\/unet has no diffusion_pytorch_model\.safetensors/);
});
