import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeContext, seededRandom, type TensorData, weightsOf } from '../../../../core/index.js';
import { buildTextToImage, type TextToImageModelOptions } from '../../../../plugins/models/stable-diffusion/build.js';
import { joinComponents } from '../../../../plugins/models/stable-diffusion/join.js';
import { pictureSizes } from '../../../../plugins/models/stable-diffusion/picture-sizes.js';
import { publishedModel } from '../../../../plugins/models/stable-diffusion/published-model.js';
import type { TextToImage } from '../../../../plugins/models/stable-diffusion/text-to-image.js';
import { writeSingleFile } from '../../../../plugins/models/stable-diffusion/write-single-file.js';
import { type Files, inMemory } from '../../../../plugins/persist/formats/files.js';
import { folder } from '../../../../plugins/persist/formats/folder.js';
import { readSafetensors, writeSafetensors } from '../../../../plugins/persist/formats/safetensors.js';
import { tf, use } from '../../../support/devices.js';
import { changed } from '../../../support/files.js';
import { PIPELINES } from '../../../support/pipelines.js';

const names = Object.keys(PIPELINES) as (keyof typeof PIPELINES)[];
const own = (name: string): Files => folder(fileURLToPath(new URL(`../../../fixtures/pipelines/${name}`, import.meta.url)));
const merges = async () => [];
const VAE = 'first_stage_model.';
beforeAll(() => use('wasm'));

/** Builds a model for as long as it is looked at; gives what was noted, too. */
async function withModel<T>(from: TextToImageModelOptions['from'], options: object, look: (model: TextToImage, notes: string[]) => T) {
  const notes: string[] = [];
  const model = await buildTextToImage({ from, train: 'nothing', note: (what) => notes.push(what), ...options }, seededRandom(0));
  try {
    return await look(model, notes);
  } finally {
    for (const { variable } of model.parameters.values()) variable.dispose();
  }
}

const predictions = (model: TextToImage): TensorData['data'] =>
  tf.tidy(() => {
    const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
    const latents = tf.randomNormal<tf.Rank.R4>([1, 8, 8, 4], 0, 1, 'float32', 1);
    return model.predict(context, latents, [500], model.encode(context, ['the cat'])).dataSync();
  });

/** A pipeline in one file, with the notes of writing it. */
async function written(from: Files, options: object = {}) {
  const files = inMemory();
  const notes = await withModel(from, options, async (model, said) => {
    await model.saveSingleFile(files, 'x.safetensors', weightsOf(model));
    return said;
  });
  const { tensors, metadata } = readSafetensors((await files.read('x.safetensors')) as Uint8Array);
  return { from: { files, path: 'x.safetensors', merges }, tensors, metadata, notes };
}

/** The same file with other tensors and without what it says of itself. */
const rewritten = (tensors: ReadonlyMap<string, TensorData>, keeps: (name: string) => boolean) => ({
  files: inMemory(new Map([['x.safetensors', writeSafetensors(Object.fromEntries([...tensors].filter(([name]) => keeps(name))))]])),
  path: 'x.safetensors',
  merges,
});
const silent = (name: string) => name !== 'v_pred';

describe.each(names)('%s in one file', (name) => {
  test('is the same model, where a folder says its configurations', async () => {
    const { from } = await written(own(name));
    await withModel(own(name), {}, (model) =>
      withModel({ ...from, configurations: own(name) }, {}, (back) => {
        expect(back.noise).toEqual(model.noise);
        expect([...back.parameters.keys()].sort()).toEqual([...model.parameters.keys()].sort());
        for (const [path, { variable }] of model.parameters)
          expect(back.parameters.get(path)?.variable.dataSync(), path).toEqual(variable.dataSync());
        expect(predictions(back)).toEqual(predictions(model));
      }),
    );
    expect(await pictureSizes({ ...from, configurations: own(name) })).toEqual({ factor: 2, unit: name === 'sdxl' ? 8 : 4, usual: 16 });
  });

  test('says what it predicts, as the programs look for it, and that its shapes are no published ones', async () => {
    const { tensors, metadata, notes } = await written(own(name));
    const v = name === 'sd21';
    expect([tensors.has('v_pred'), tensors.has('ztsnr')]).toEqual([v, false]);
    expect(metadata).toMatchObject({
      format: 'pt',
      'modelspec.architecture': { sd15: 'stable-diffusion-v1', sd21: 'stable-diffusion-v2-768-v', sdxl: 'stable-diffusion-xl-v1-base' }[
        name
      ],
      'modelspec.title': 'x',
      'modelspec.resolution': '16x16',
      'modelspec.prediction_type': v ? 'v' : 'epsilon',
    });
    const parts = name === 'sdxl' ? 'unet, text_encoder, text_encoder_2, vae' : 'unet, text_encoder, vae';
    expect(notes).toEqual([expect.stringContaining(`: ${parts} are not configured as in the published models`)]);
    const zeros = changed(own(name), { 'model_index.json': { force_zeros_for_empty_prompt: name !== 'sdxl' } });
    expect((await written(zeros)).notes).toEqual([expect.stringContaining(`: ${parts}, force_zeros_for_empty_prompt are not configured`)]);
    const zero = changed(own(name), { 'scheduler/scheduler_config.json': { rescale_betas_zero_snr: true } });
    expect((await written(zero)).tensors.has('ztsnr')).toBe(true);
  });

  test.each<[string, Record<string, object>, RegExp]>([
    ['the scale of latents', { 'vae/config.json': { scaling_factor: 0.5 } }, /has another scaling_factor than/],
    ['their centre', { 'vae/config.json': { shift_factor: 0.1 } }, /has another shift_factor than/],
    ['their mean', { 'vae/config.json': { latents_mean: [1, 1, 1, 1], latents_std: [1, 1, 1, 1] } }, /has another latents_mean than/],
    ['the noise', { 'scheduler/scheduler_config.json': { beta_end: 0.02 } }, /has another noise schedule than/],
    ['the prediction', { 'scheduler/scheduler_config.json': { prediction_type: 'sample' } }, /has the prediction_type sample/],
  ])('is refused where nobody could see %s', async (_, changes, message) => {
    await expect(written(changed(own(name), changes))).rejects.toThrow(message);
    await expect(written(changed(own(name), changes))).rejects.toThrow(/UNSUPPORTED_MODEL.*one file cannot say. Save it as a folder/);
  });
});

test.each([
  ['sd15', {}, 512, 64],
  ['sd21', { predictionType: 'epsilon' }, 512, 64],
  ['sd21', { predictionType: 'v_prediction' }, 768, 64],
  ['sdxl', {}, 1024, 32],
] as const)('without a folder a file of %s is of the published sizes: %j', async (name, options, usual, unit) => {
  const { tensors } = await written(own(name));
  expect(await pictureSizes(rewritten(tensors, silent), options)).toEqual({ factor: 8, unit, usual });
});

test('what a Stable Diffusion 2 predicts is told by the file, by its folder, or asked for', async () => {
  const { from, tensors } = await written(own('sd21'));
  const told = (source: TextToImageModelOptions['from'], options: object = {}) =>
    withModel(source, options, (model, notes) => [model.noise.config.prediction_type, ...notes]);
  const quiet = rewritten(tensors, silent);
  const otherwise = { configurations: changed(own('sd21'), { 'scheduler/scheduler_config.json': { prediction_type: 'epsilon' } }) };
  expect(await told({ ...from, ...otherwise })).toEqual(['v_prediction']);
  expect(await told({ ...quiet, ...otherwise })).toEqual(['epsilon']);
  const asked = await told({ ...from, ...otherwise }, { predictionType: 'epsilon' });
  expect(asked).toEqual(['epsilon', expect.stringMatching(/says that it predicts v_prediction: epsilon is used, as is asked for/)]);
  await expect(pictureSizes(quiet)).rejects.toThrow(/OPTION_MISSING.*does not say what it predicts.*predictionType/);
  await expect(pictureSizes(from, { variant: 'fp16' })).rejects.toThrow(
    /OPTION_INVALID.*variant is given, but memory\/x.safetensors is one file/,
  );
  // A folder, too, may be told otherwise.
  expect(await told(own('sd21'), { predictionType: 'epsilon' })).toEqual(['epsilon', expect.stringMatching(/epsilon is used/)]);
});

test('another autoencoder comes from a model’s folder, from its own, or from a file of either form', async () => {
  const { tensors } = await written(own('sdxl'));
  const files = inMemory(
    new Map([
      ['bare.safetensors', writeSafetensors(Object.fromEntries([...tensors].filter(([name]) => name.startsWith(VAE))))],
      ['diffusers.safetensors', (await own('sdxl').read('vae/diffusion_pytorch_model.safetensors')) as Uint8Array],
    ]),
  );
  const alone: Files = { ...own('sdxl/vae') };
  const wanted = await withModel(own('sdxl'), {}, (model) => model.parameters.get('vae.decoder.conv_in.weight')?.variable.dataSync());
  for (const vae of [own('sdxl'), alone, { files, path: 'bare.safetensors' }, { files, path: 'diffusers.safetensors' }])
    await withModel(own('sd15'), { vae }, (model) =>
      expect(model.parameters.get('vae.decoder.conv_in.weight')?.variable.dataSync()).toEqual(wanted),
    );
  const without = { ...rewritten(tensors, (name) => silent(name) && !name.startsWith(VAE)), configurations: own('sdxl') };
  await expect(withModel(without, {}, () => null)).rejects.toThrow(/FILE_MISSING.*x\.safetensors has no autoencoder.*pretrainedVae/);
  expect(await withModel(without, { vae: own('sdxl') }, predictions)).toEqual(await withModel(own('sdxl'), {}, predictions));
});

test('published models in the words of their own configurations are written without a note', async () => {
  for (const [name, unet, encoder] of [
    ['sd1', { attention_head_dim: [8, 8, 8, 8], num_attention_heads: null, layers_per_block: [2, 2, 2, 2] }, { eos_token_id: 2 }],
    ['sd2', { upcast_attention: false, time_embedding_dim: null }, { projection_dim: 512 }],
    ['sdxl', { transformer_layers_per_block: [1, 2, 10] }, { eos_token_id: 2 }],
  ] as const) {
    const { family, published } = publishedModel(name);
    const joined = joinComponents({
      where: 'it',
      family,
      unet: { config: { ...published.unet, ...unet } },
      encoders: published.encoders.map((config) => ({ config: { ...config, ...encoder }, tokenizer: { size: 0 } as never })),
      vae: { config: { ...published.vae, force_upcast: true } },
      noise: published.noise,
    });
    const notes: string[] = [];
    // Nobody draws a gigabyte for a note: the first weight that is asked for is missing.
    const weights = new Proxy({}, { get: () => expect.unreachable('no weights') });
    const note = (what: string) => void notes.push(what);
    await expect(writeSingleFile(inMemory(), 'x.safetensors', weights, joined, { note })).rejects.toThrow('no weights');
    expect(notes, name).toEqual([]);
  }
});
