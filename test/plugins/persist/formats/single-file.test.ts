import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { TensorData } from '../../../../core/index.js';
import { inMemory } from '../../../../plugins/persist/formats/files.js';
import { writeSafetensors } from '../../../../plugins/persist/formats/safetensors.js';
import { openSingleFile, openVaeFile } from '../../../../plugins/persist/formats/single-file/read.js';
import { toSingleFile } from '../../../../plugins/persist/formats/single-file/write.js';
import { type StoredTensors, storedInMemory } from '../../../../plugins/persist/formats/stored-tensors.js';
import { fixtureJson } from '../../../support/fixtures.js';
import { PIPELINES, pipelineParts } from '../../../support/pipelines.js';

const read = async (tensors: StoredTensors): Promise<Record<string, TensorData>> =>
  Object.fromEntries(await Promise.all([...tensors].map(async ([name, stored]) => [name, await stored.read()])));
const names = Object.keys(PIPELINES) as (keyof typeof PIPELINES)[];
const single = async (name: keyof typeof PIPELINES) => read(toSingleFile(await pipelineParts(name)));
const number: TensorData = { dtype: 'float32', shape: [1], data: Float32Array.of(1) };

/** Opens a file of these tensors; gives what was noted too. */
async function opened(tensors: Record<string, TensorData>) {
  const notes: string[] = [];
  const files = inMemory(new Map([['x.safetensors', writeSafetensors(tensors)]]));
  return { notes, ...(await openSingleFile(files, 'x.safetensors', { note: (what) => void notes.push(what) })) };
}

describe.each(names)('a single file of %s', (name) => {
  test('is what diffusers reads as the pipeline’s own tensors', async () => {
    const golden = (await fixtureJson('single-files.json'))[name] as Record<string, [number[], string]>;
    const written = await single(name);
    expect(Object.keys(written).sort()).toEqual(Object.keys(golden).sort());
    for (const [key, { shape, data }] of Object.entries(written)) {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      expect([shape, createHash('sha256').update(bytes).digest('hex').slice(0, 16)], key).toEqual(golden[key]);
    }
  });

  test('gives the pipeline’s tensors back, without what is no weight', async () => {
    const parts = await pipelineParts(name);
    const { notes, ...back } = await opened({
      ...(await single(name)),
      betas: number,
      'model_ema.diffusion_modelinput_blocks00weight': number,
      'first_stage_model.loss.logvar': number,
      'something.else': number,
      ...(name === 'sd21'
        ? {
            'cond_stage_model.model.logit_scale': number,
            'cond_stage_model.model.transformer.resblocks.23.ln_1.bias': number,
            'cond_stage_model.model.text_projection': number,
          }
        : {}),
      ...(name === 'sdxl' ? { v_pred: number, ztsnr: number } : {}),
    });
    expect(back.family).toBe(parts.family);
    for (const part of ['unet', 'vae'] as const) expect(await read(back[part])).toEqual(await read(parts[part]));
    expect(back.encoders).toHaveLength(parts.encoders.length);
    for (const [i, encoder] of parts.encoders.entries()) expect(await read(back.encoders[i])).toEqual(await read(encoder));
    for (const [, stored] of back.unet) expect(stored.where).toBe('memory/x.safetensors');
    expect([back.predicts, back.zeroSnr]).toEqual(name === 'sdxl' ? ['v_prediction', true] : [undefined, false]);
    expect(notes[0]).toMatch(/holds averages too/);
    expect(notes[1]).toMatch(/: something\.else belong to no network/);
  });
});

test('an autoencoder’s own file is read under either names', async () => {
  const { vae } = await pipelineParts('sd15');
  const wanted = await read(vae);
  const theirs = Object.entries(await single('sd15')).filter(([key]) => key.startsWith('first_stage_model.'));
  const bare = theirs.map(([key, value]) => [key.slice('first_stage_model.'.length), value] as const);
  for (const tensors of [
    wanted,
    Object.fromEntries(theirs),
    { ...Object.fromEntries(bare), 'loss.logvar': number, 'model_ema.decay': number },
  ])
    expect(await read(await openVaeFile(inMemory(new Map([['v', writeSafetensors(tensors)]])), 'v'))).toEqual(wanted);
});

test('a file without an autoencoder has none', async () => {
  const cut = Object.entries(await single('sd15')).filter(([key]) => !key.startsWith('first_stage_model.'));
  expect((await opened(Object.fromEntries(cut))).vae.size).toBe(0);
});

test.each([
  ['unet', 'down_blocks.0.strange.weight'],
  ['vae', 'decoder.strange.weight'],
  ['encoders', 'strange.weight'],
] as const)('a tensor of the %s that has no place in a single file is an error, and one of a file keeps its name', async (part, name) => {
  const parts = await pipelineParts('sd21');
  const more = storedInMemory(new Map([[name, number]]));
  const spoilt =
    part === 'encoders' ? { encoders: [new Map([...parts.encoders[0], ...more])] } : { [part]: new Map([...parts[part], ...more]) };
  expect(() => toSingleFile({ ...parts, ...spoilt })).toThrow(new RegExp(`WEIGHTS_MISMATCH.*${name} .*has no place`));
  const prefix = { unet: 'model.diffusion_model.', vae: 'first_stage_model.', encoders: 'cond_stage_model.model.' }[part];
  const back = await opened({ ...(await single('sd21')), [prefix + name]: number });
  expect((part === 'encoders' ? back.encoders[0] : back[part]).has(name)).toBe(true);
});

const wide = (channels: number): TensorData => ({ dtype: 'float32', shape: [1, channels, 1, 1], data: new Float32Array(channels) });
const FIRST = 'model.diffusion_model.input_blocks.0.0.weight';
test.each<[string, Record<string, TensorData>, RegExp]>([
  ['inpainting', { [FIRST]: wide(9), 'cond_stage_model.transformer.x': number }, /for inpainting: its denoiser takes 9 channels/],
  ['edits', { [FIRST]: wide(8), 'cond_stage_model.transformer.x': number }, /for edits by instruction/],
  ['Stable Diffusion 3', { 'model.diffusion_model.joint_blocks.0.x.weight': number }, /Stable Diffusion 3/],
  ['Flux', { 'double_blocks.0.img_attn.norm.key_norm.scale': number }, /Flux/],
  ['a LoRA', { 'lora_unet_down_blocks_0.lora_down.weight': number }, /adapter.*--lora/],
  ['a LoRA of diffusers', { 'unet.down_blocks.0.to_q.lora_A.weight': number }, /adapter.*--lora/],
  ['diffusers’ UNet', { 'down_blocks.0.resnets.0.conv1.weight': number }, /a denoiser alone, under diffusers’ names/],
  ['an autoencoder', { 'encoder.down_blocks.0.resnets.0.conv1.weight': number }, /an autoencoder alone/],
  ['a text encoder', { 'text_model.embeddings.token_embedding.weight': number }, /a text encoder alone/],
  ['a ControlNet', { 'control_model.time_embed.0.weight': number }, /a ControlNet/],
  ['a refiner', { [FIRST]: wide(4), 'conditioner.embedders.0.model.text_projection': number }, /a refiner of SDXL/],
  ['Playground', { [FIRST]: wide(4), 'conditioner.embedders.1.model.x': number, edm_mean: number }, /Playground/],
  ['half of SDXL', { [FIRST]: wide(4), 'conditioner.embedders.1.model.x': number }, /without its first text encoder/],
  ['a denoiser', { [FIRST]: wide(4) }, /a denoiser without text encoders/],
  ['anything else', { weight: number }, /no model that is known here/],
])('%s is refused by name', async (_, tensors, message) => {
  await expect(opened(tensors)).rejects.toThrow(/UNSUPPORTED_MODEL.*memory\/x\.safetensors is /);
  await expect(opened(tensors)).rejects.toThrow(message);
});
