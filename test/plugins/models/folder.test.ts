import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeContext, seededRandom, type TensorData, weightsOf } from '../../../core/index.js';
import { clipTokenizer } from '../../../plugins/models/clip/tokenizer.js';
import { buildTextToImage, type FreshTextToImage } from '../../../plugins/models/stable-diffusion/build.js';
import { parseUNetConfig } from '../../../plugins/models/unet/config.js';
import { inMemory } from '../../../plugins/persist/formats/files.js';
import { readSafetensors, writeSafetensors } from '../../../plugins/persist/formats/safetensors.js';
import { tf, use } from '../../support/devices.js';
import { smallModel } from '../../support/small-model.js';

const fresh = (): FreshTextToImage => {
  const model = smallModel(['red', 'heart', 'ghost'], 1);
  return { ...model, unet: { ...model.unet, block_out_channels: [8, 16, 16], norm_num_groups: 4, sample_size: 8 } };
};
const decode = (bytes: Uint8Array | undefined) => JSON.parse(new TextDecoder().decode(bytes));
beforeAll(() => use('wasm'));

describe('diffusers’ folder layout', () => {
  const written = async (half = false) => {
    const map = new Map<string, Uint8Array>();
    const model = await buildTextToImage({ from: fresh(), train: 'everything' }, seededRandom(1));
    await model.save(inMemory(map), weightsOf(model), { half });
    return { map, model };
  };
  /** Its files, to be spoilt: they are written once. */
  const copied = async () => new Map((await (first ??= written())).map);
  let first: ReturnType<typeof written> | undefined;

  test('what is saved is loaded, in float32 and float16', async () => {
    for (const half of [false, true]) {
      const { map, model } = await written(half);
      expect([...map.keys()].sort()).toEqual([
        'model_index.json',
        'scheduler/scheduler_config.json',
        'text_encoder/config.json',
        'text_encoder/model.safetensors',
        'tokenizer/merges.txt',
        'tokenizer/special_tokens_map.json',
        'tokenizer/tokenizer_config.json',
        'tokenizer/vocab.json',
        'unet/config.json',
        'unet/diffusion_pytorch_model.safetensors',
        'vae/config.json',
        'vae/diffusion_pytorch_model.safetensors',
      ]);
      const back = await buildTextToImage({ from: inMemory(map), train: 'nothing' }, seededRandom(9));
      expect([...back.parameters.keys()]).toEqual([...model.parameters.keys()]);
      expect([...back.parameters.values()].some((p) => p.trainable)).toBe(false);
      for (const [path, { variable }] of model.parameters) {
        const [a, b] = [
          await variable.data(),
          await (back.parameters.get(path) as typeof back.parameters extends ReadonlyMap<string, infer P> ? P : never).variable.data(),
        ];
        if (half) expect(a.findIndex((x, i) => !(Math.abs(b[i] - x) <= Math.abs(x) * 2 ** -10 + 1e-7))).toBe(-1);
        else expect(b).toEqual(a);
      }
      expect(back.noise.alphasCumprod).toEqual(model.noise.alphasCumprod);
      expect(back.tokenizer.encode('Red heart')).toEqual(model.tokenizer.encode('red heart'));
    }
  });

  test('a scheduler of another class stays what it was, Python’s infinities too', async () => {
    const map = await copied();
    const config =
      '{"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "sample", "lambda_min_clipped": -Infinity, "note": "Infinity"}';
    map.set('scheduler/scheduler_config.json', new TextEncoder().encode(config));
    const model = await buildTextToImage({ from: inMemory(map), train: 'nothing' }, seededRandom(0));
    expect(model.noise.config.prediction_type).toBe('sample');
    const again = new Map<string, Uint8Array>();
    await model.save(inMemory(again), weightsOf(model));
    const { _class_name, _diffusers_version, ...rest } = decode(again.get('scheduler/scheduler_config.json'));
    expect([_class_name, rest]).toEqual(['DPMSolverMultistepScheduler', { prediction_type: 'sample', note: 'Infinity' }]);
  });

  test('text encoders are read with and without text_model., position_ids left out', async () => {
    const map = await copied();
    const path = 'text_encoder/model.safetensors';
    const { tensors } = readSafetensors(map.get(path) as Uint8Array);
    expect([...tensors.keys()].every((key) => key.startsWith('text_model.'))).toBe(true);
    const renamed: Record<string, TensorData> = { 'embeddings.position_ids': { dtype: 'int32', shape: [1], data: new Int32Array(1) } };
    for (const [key, value] of tensors) renamed[key.replace('text_model.', '')] = value;
    map.set(path, writeSafetensors(renamed));
    await buildTextToImage({ from: inMemory(map), train: 'nothing' }, seededRandom(0));
  });

  test.each([
    [
      'an unsupported option',
      (map: Map<string, Uint8Array>) => edit(map, 'unet/config.json', { class_embed_type: 'timestep' }),
      /UNSUPPORTED_OPTION.*class_embed_type: only null/,
    ],
    [
      'resnet scale shift',
      (map: Map<string, Uint8Array>) => edit(map, 'unet/config.json', { resnet_time_scale_shift: 'scale_shift' }),
      /resnet_time_scale_shift: only "default"/,
    ],
    ['an unknown option', (map: Map<string, Uint8Array>) => edit(map, 'unet/config.json', { novelty: 1 }), /UNSUPPORTED_OPTION.*novelty/],
    [
      'another block',
      (map: Map<string, Uint8Array>) =>
        edit(map, 'unet/config.json', { down_block_types: ['AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'] }),
      /down_block_types/,
    ],
    [
      'another autoencoder',
      (map: Map<string, Uint8Array>) => edit(map, 'model_index.json', { vae: ['diffusers', 'AutoencoderTiny'] }),
      /UNSUPPORTED_MODEL.*AutoencoderTiny is not supported/,
    ],
    [
      'an autoencoder of steploom’s before 0.1',
      (map: Map<string, Uint8Array>) => edit(map, 'model_index.json', { vae: ['steploom', 'SpaceToDepth'] }),
      /UNSUPPORTED_MODEL.*model_index\.json: the autoencoder SpaceToDepth is not supported.*Use a model that has an AutoencoderKL/s,
    ],
    [
      'no autoencoder',
      (map: Map<string, Uint8Array>) => edit(map, 'model_index.json', { vae: [null, null] }),
      /UNSUPPORTED_MODEL.*model_index\.json: the model has no autoencoder.*Use a model that has an AutoencoderKL/s,
    ],
    [
      'another tokenizer',
      (map: Map<string, Uint8Array>) => edit(map, 'tokenizer/tokenizer_config.json', { tokenizer_class: 'WordTokenizer' }),
      /UNSUPPORTED_OPTION.*tokenizer_config\.json: tokenizer_class: only CLIPTokenizer and CLIPTokenizerFast are supported, not WordTokenizer: use a model/,
    ],
    ...[
      ['a model for inpainting', 'StableDiffusionInpaintPipeline', /UNSUPPORTED_MODEL.*for inpainting/],
      ['Stable Diffusion 3', 'StableDiffusion3Pipeline', /UNSUPPORTED_MODEL.*is a StableDiffusion3Pipeline.*Stable Diffusion XL/],
      ['one whose files say nothing', null, /UNSUPPORTED_MODEL.*without a _class_name/],
      ['parts of another family', 'StableDiffusionXLPipeline', /FILE_MISSING.*text_encoder_2/],
    ].map(([what, name, message]): [string, (map: Map<string, Uint8Array>) => void, RegExp] => [
      what as string,
      (map) => edit(map, 'model_index.json', { _class_name: name }),
      message as RegExp,
    ]),
    [
      'a refiner',
      (map: Map<string, Uint8Array>) =>
        edit(map, 'model_index.json', { _class_name: 'StableDiffusionXLPipeline', text_encoder: [null, null] }),
      /UNSUPPORTED_MODEL.*has no text_encoder/,
    ],
    ['another activation', (map: Map<string, Uint8Array>) => edit(map, 'text_encoder/config.json', { hidden_act: 'relu' }), /hidden_act/],
    [
      'weights of another size',
      (map: Map<string, Uint8Array>) => edit(map, 'unet/config.json', { block_out_channels: [8, 16, 32] }),
      /WEIGHTS_MISMATCH.*expected/,
    ],
    [
      'weights that are missing',
      (map: Map<string, Uint8Array>) => edit(map, 'text_encoder/config.json', { num_hidden_layers: 2 }),
      /WEIGHTS_MISMATCH.*layers\.1.*is missing/,
    ],
    [
      'weights that are unexpected',
      (map: Map<string, Uint8Array>) => edit(map, 'text_encoder/config.json', { num_hidden_layers: 0 }),
      /WEIGHTS_MISMATCH.*layers\.0.*is unexpected/,
    ],
    [
      'parts of two models',
      (map: Map<string, Uint8Array>) => edit(map, 'unet/config.json', { cross_attention_dim: 64 }),
      /MODEL_PARTS_DIFFER.*128 wide.*expects 64/,
    ],
    [
      'a tokenizer that is longer than its text encoder',
      (map: Map<string, Uint8Array>) => edit(map, 'tokenizer/tokenizer_config.json', { model_max_length: 512 }),
      /MODEL_PARTS_DIFFER.*tokenizer\/tokenizer_config\.json has a model_max_length of 512, more than the \d+ tokens.*Set model_max_length to \d+/s,
    ],
    [
      'a file that is gone',
      (map: Map<string, Uint8Array>) => void map.delete('scheduler/scheduler_config.json'),
      /FILE_MISSING.*scheduler_config/,
    ],
    [
      'a file that is no JSON',
      (map: Map<string, Uint8Array>) => void map.set('unet/config.json', new Uint8Array([123])),
      /BAD_JSON.*unet\/config.json/,
    ],
  ])('%s is an error that names it', async (_, spoil, message) => {
    const map = await copied();
    spoil(map);
    await expect(buildTextToImage({ from: inMemory(map), train: 'nothing' }, seededRandom(0))).rejects.toThrow(message);
  });
  const edit = (map: Map<string, Uint8Array>, path: string, change: object) =>
    void map.set(path, new TextEncoder().encode(JSON.stringify({ ...decode(map.get(path)), ...change })));

  test('Stable Diffusion’s own configurations are understood', () => {
    const config = parseUNetConfig({
      _class_name: 'UNet2DConditionModel',
      act_fn: 'silu',
      attention_head_dim: [5, 10, 20, 20],
      cross_attention_dim: 1024,
      use_linear_projection: true,
      upcast_attention: true,
      sample_size: 96,
    });
    expect(config.block_out_channels).toEqual([320, 640, 1280, 1280]);
  });
});

test('use_linear_projection, several layers and lists compute', async () => {
  const base = fresh();
  const model = await buildTextToImage(
    {
      from: {
        ...base,
        unet: {
          ...base.unet,
          use_linear_projection: true,
          layers_per_block: [1, 2, 1],
          attention_head_dim: [2, 4, 2],
          transformer_layers_per_block: 2,
        },
      },
      train: 'nothing',
    },
    seededRandom(0),
  );
  const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
  const shape = tf.tidy(() => model.predict(context, tf.zeros([2, 8, 8, 4]), [1, 2], model.encode(context, ['red', ''])).shape);
  expect(shape).toEqual([2, 8, 8, 4]);
});

describe('tokenizers', () => {
  test('byte-level BPE as CLIP’s', () => {
    const vocabulary = {
      c: 0,
      a: 1,
      't</w>': 2,
      's</w>': 3,
      ca: 4,
      'cat</w>': 5,
      '!</w>': 6,
      '<|startoftext|>': 7,
      '<|endoftext|>': 8,
      t: 9,
      at: 10,
      cat: 11,
    };
    const { encode } = clipTokenizer(vocabulary, ['c a', 'ca t</w>', 'ca t'], 8, '<|endoftext|>');
    expect([...encode('  Cat   cats!')]).toEqual([7, 5, 11, 3, 6, 8, 8, 8]);
  });
});

test('fixtures’ own weights fit their config', async () => {
  const raw = readSafetensors(await readFile(new URL('../../fixtures/unet-tiny/diffusion_pytorch_model.safetensors', import.meta.url)));
  expect(raw.tensors.size).toBeGreaterThan(100);
});

test('a model is told from others by its weights, configurations, tokenizer and codec, and not by notes in its files', async () => {
  const map = new Map<string, Uint8Array>();
  const model = await buildTextToImage({ from: fresh(), train: 'everything' }, seededRandom(1));
  await model.save(inMemory(map), weightsOf(model));
  const toldBy = ({ base, configuration }: typeof model) => `${base} ${configuration}`;
  /** What tells a model one of whose files was changed. */
  const baseWith = async (path?: string, change: (json: Record<string, unknown>) => void = () => undefined) => {
    const files = new Map(map);
    if (path) {
      const json = decode(files.get(path));
      change(json);
      files.set(path, new TextEncoder().encode(JSON.stringify(json)));
    }
    return toldBy(await buildTextToImage({ from: inMemory(files), train: 'nothing' }, seededRandom(1)));
  };
  const base = await baseWith();
  expect(await baseWith()).toBe(base);
  expect(await baseWith('unet/config.json', (json) => void (json._diffusers_version = '9'))).toBe(base);
  const changes: [string, (json: Record<string, unknown>) => void][] = [
    ['scheduler/scheduler_config.json', (json) => void (json.prediction_type = 'epsilon')],
    ['scheduler/scheduler_config.json', (json) => void (json.beta_end = 0.5)],
    ['unet/config.json', (json) => void (json.attention_head_dim = 2)],
    ['unet/config.json', (json) => void (json.flip_sin_to_cos = false)],
    ['text_encoder/config.json', (json) => void (json.num_attention_heads = 2)],
    ['tokenizer/vocab.json', (json) => void ([json['red</w>'], json['heart</w>']] = [json['heart</w>'], json['red</w>']])],
  ];
  const seen = new Set([base]);
  for (const [path, change] of changes) seen.add(await baseWith(path, change));
  expect(seen.size).toBe(changes.length + 1);
  // New ones, which have no weights yet.
  const baseOf = async (noise: FreshTextToImage['noise']) =>
    toldBy(await buildTextToImage({ from: { ...fresh(), noise }, train: 'everything' }, seededRandom(1)));
  expect(await baseOf({ prediction_type: 'epsilon' })).not.toBe(await baseOf({ prediction_type: 'v_prediction' }));
});
