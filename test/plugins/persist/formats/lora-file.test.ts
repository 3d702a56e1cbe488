import { describe, expect, test } from 'vitest';
import type { ModuleFacts, TensorData } from '../../../../core/index.js';
import { readLoraFile } from '../../../../plugins/persist/formats/lora-file.js';
import { writeSafetensors } from '../../../../plugins/persist/formats/safetensors.js';

const linear = (path: string, size: number, out: number): [string, ModuleFacts] => [
  path,
  { kind: 'linear', weight: `${path}.weight`, shape: [size, out] },
];
const conv = (path: string, kernel: number, size: number, out: number): [string, ModuleFacts] => [
  path,
  { kind: 'conv2d', weight: `${path}.weight`, shape: [kernel, kernel, size, out] },
];

const ATTENTION = 'down_blocks.0.attentions.0.transformer_blocks.0.attn2';
const TEXT = 'encoder.layers.0.self_attn';
/** A few modules of Stable Diffusion 1. */
const modules = new Map([
  linear(`unet.${ATTENTION}.to_q`, 4, 4),
  linear(`unet.${ATTENTION}.to_k`, 768, 4),
  linear(`unet.${ATTENTION}.to_out.0`, 4, 4),
  conv('unet.down_blocks.0.attentions.0.proj_in', 1, 4, 4),
  conv('unet.down_blocks.0.resnets.0.conv1', 3, 8, 4),
  conv('unet.up_blocks.0.resnets.0.conv1', 3, 8, 4),
  linear(`text_encoder.${TEXT}.q_proj`, 6, 6),
  linear(`text_encoder.${TEXT}.out_proj`, 6, 6),
]);

/** Numbers that differ from one another. */
const numbers = (shape: readonly number[], first = 1): TensorData => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.cos(first + i)),
});
const scalar = (value: number): TensorData => ({ dtype: 'float32', shape: [], data: Float32Array.of(value) });

const file = (tensors: Record<string, TensorData>, metadata?: Record<string, string>) =>
  writeSafetensors(tensors, metadata ? { metadata } : {});
const read = (tensors: Record<string, TensorData>, metadata?: Record<string, string>) =>
  readLoraFile(file(tensors, metadata), modules, 'my.safetensors');

/** The message a file is refused with. */
function refusal(tensors: Record<string, TensorData | readonly number[]>, metadata?: Record<string, string>, of = modules): string {
  const filled = Object.fromEntries(
    Object.entries(tensors).map(([key, value]) => [key, Array.isArray(value) ? numbers(value) : (value as TensorData)]),
  );
  try {
    readLoraFile(file(filled, metadata), of, 'my.safetensors');
    return 'nothing';
  } catch (error) {
    return (error as Error).message;
  }
}

const toQ = `unet.${ATTENTION}.to_q`;
const pair = { [`${toQ}.lora_A.weight`]: numbers([2, 4]), [`${toQ}.lora_B.weight`]: numbers([4, 2]) };

describe('keys', () => {
  const under = (path: string) => path.replaceAll('.', '_');
  const old = ATTENTION;
  test.each([
    ['diffusers, before 0.19', `unet.${old}.processor.to_q_lora.down.weight`, `unet.${old}.processor.to_q_lora.up.weight`, 'to_q'],
    ['without a processor', `unet.${old}.to_q_lora.down.weight`, `unet.${old}.to_q_lora.up.weight`, 'to_q'],
    ['without a component', `${old}.processor.to_q_lora.down.weight`, `${old}.processor.to_q_lora.up.weight`, 'to_q'],
    ['to_out', `unet.${old}.processor.to_out_lora.down.weight`, `unet.${old}.processor.to_out_lora.up.weight`, 'to_out.0'],
    ['diffusers', `unet.${old}.to_out.0.lora.down.weight`, `unet.${old}.to_out.0.lora.up.weight`, 'to_out.0'],
    ['peft', `unet.${old}.to_out.0.lora_A.weight`, `unet.${old}.to_out.0.lora_B.weight`, 'to_out.0'],
    [
      'peft with a name',
      `base_model.model.${old}.to_q.lora_A.default.weight`,
      `base_model.model.${old}.to_q.lora_B.default.weight`,
      'to_q',
    ],
    ['kohya', `lora_unet_${under(old)}_to_out_0.lora_down.weight`, `lora_unet_${under(old)}_to_out_0.lora_up.weight`, 'to_out.0'],
    [
      'the single file',
      'lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_q.lora_down.weight',
      'lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_q.lora_up.weight',
      'to_q',
    ],
    [
      'ComfyUI',
      'diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_q.lora_A.weight',
      'diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_q.lora_B.weight',
      'to_q',
    ],
  ])('a UNet’s, as %s has them', (_, a, b, end) => {
    const [module] = read({ [a]: numbers([2, 4]), [b]: numbers([4, 2], 5) });
    expect(module).toMatchObject({ path: `unet.${ATTENTION}.${end}`, rank: 2, alpha: 2, scale: 1 });
    expect([...module.a.data, ...module.b.data]).toEqual([...numbers([2, 4]).data, ...numbers([4, 2], 5).data]);
  });

  test.each([
    ['lora_te_text_model_encoder_layers_0_self_attn_out_proj.lora_down', 'out_proj'],
    ['lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down', 'q_proj'],
    ['lora_te_encoder_layers_0_self_attn_q_proj.lora_down', 'q_proj'],
    [`text_encoder.text_model.${TEXT}.q_proj.lora_linear_layer.down`, 'q_proj'],
    [`text_encoder.${TEXT}.out_proj.lora_linear_layer.down`, 'out_proj'],
    [`text_encoder.text_model.${TEXT}.to_out_lora.down`, 'out_proj'],
    [`text_encoder.text_model.${TEXT}.to_q_lora.down`, 'q_proj'],
    [`text_encoder.${TEXT}.q_proj.lora_A`, 'q_proj'],
    [`base_model.model.text_encoder.text_model.${TEXT}.q_proj.lora_A`, 'q_proj'],
    [`base_model.model.text_model.${TEXT}.q_proj.lora_A.default`, 'q_proj'],
  ])('a text encoder’s: %s', (down, end) => {
    const up = down.replace('lora_A', 'lora_B').replace('down', 'up');
    const [module] = read({ [`${down}.weight`]: numbers([3, 6]), [`${up}.weight`]: numbers([6, 3]) });
    expect(module).toMatchObject({ path: `text_encoder.${TEXT}.${end}`, rank: 3 });
  });

  test('mixed in one file, each with its own rank and alpha', () => {
    const found = read({
      ...pair,
      'lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight': numbers([3, 8, 3, 3]),
      'lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight': numbers([4, 3, 1, 1]),
      'lora_unet_down_blocks_0_resnets_0_conv1.alpha': scalar(6),
      [`text_encoder.${TEXT}.q_proj.lora_linear_layer.down.weight`]: numbers([1, 6]),
      [`text_encoder.${TEXT}.q_proj.lora_linear_layer.up.weight`]: numbers([6, 1]),
    });
    expect(Object.fromEntries(found.map(({ path, rank, scale }) => [path, [rank, scale]]))).toEqual({
      [toQ]: [2, 1],
      'unet.down_blocks.0.resnets.0.conv1': [3, 2],
      [`text_encoder.${TEXT}.q_proj`]: [1, 1],
    });
  });

  test('a module under two names is refused: neither is left out in silence', () => {
    const message = refusal({ ...pair, [`${toQ}.lora.down.weight`]: [2, 4], [`${toQ}.lora.up.weight`]: [4, 2] });
    expect(message).toMatch(/LORA_MISMATCH.*my.safetensors: .*to_q.*there a second time/);
  });
});

describe('matrices', () => {
  test('LoCon’s middle matrix is multiplied in', () => {
    const [mid, down] = [numbers([2, 2, 3, 3]), numbers([2, 8, 1, 1], 7)];
    const [module] = read({
      'lora_unet_down_blocks_0_resnets_0_conv1.lora_mid.weight': mid,
      'lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight': down,
      'lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight': numbers([4, 2, 1, 1]),
      'lora_unet_down_blocks_0_resnets_0_conv1.alpha': scalar(1),
    });
    expect([module.a.shape, module.scale]).toEqual([[2, 8, 3, 3], 0.5]);
    const expected = mid.data[(1 * 2 + 0) * 9 + 4] * down.data[0 * 8 + 5] + mid.data[(1 * 2 + 1) * 9 + 4] * down.data[1 * 8 + 5];
    expect(module.a.data[(1 * 8 + 5) * 9 + 4]).toBeCloseTo(expected, 6);
  });

  test('1 x 1 convolutions without their last axes, and matrices with them', () => {
    const found = read({
      'lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight': numbers([2, 4]),
      'lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight': numbers([4, 2]),
      [`${toQ}.lora_A.weight`]: numbers([2, 4, 1, 1]),
      [`${toQ}.lora_B.weight`]: numbers([4, 2, 1, 1]),
    });
    expect(found.map(({ a, b }) => [a.shape, b.shape])).toEqual([
      [
        [2, 4, 1, 1],
        [4, 2, 1, 1],
      ],
      [
        [2, 4],
        [4, 2],
      ],
    ]);
  });

  test.each([
    ['float8 e4m3fn', 'F8_E4M3', [0x38, 0xb9, 0x7e, 0x01, 0x80, 0xc0, 0x07, 0x30], [1, -1.125, 448, 2 ** -9, -0, -2, 7 * 2 ** -9, 0.5]],
    ['float8 e5m2', 'F8_E5M2', [0x3c, 0xc4, 0x7b, 0x01, 0x00, 0x40, 0x04, 0x38], [1, -4, 57344, 2 ** -16, 0, 2, 2 ** -14, 0.5]],
    [
      'bfloat16',
      'BF16',
      [0x80, 0x3f, 0x40, 0xc0, 0x00, 0x00, 0x49, 0x40].concat([0x80, 0x3f, 0x40, 0xc0, 0, 0, 0x49, 0x40]),
      [1, -3, 0, 3.140625, 1, -3, 0, 3.140625],
    ],
  ])('%s', (_, dtype, bytes, values) => {
    const width = bytes.length / 8;
    const header = JSON.stringify({
      [`${toQ}.lora_A.weight`]: { dtype, shape: [1, 4], data_offsets: [0, 4 * width] },
      [`${toQ}.lora_B.weight`]: { dtype, shape: [4, 1], data_offsets: [4 * width, 8 * width] },
    });
    const whole = new Uint8Array(8 + header.length + bytes.length);
    new DataView(whole.buffer).setUint32(0, header.length, true);
    whole.set(new TextEncoder().encode(header), 8);
    whole.set(bytes, 8 + header.length);
    const [module] = readLoraFile(whole, modules);
    expect([...module.a.data, ...module.b.data]).toEqual(values);
  });

  test('what does not fit is named', () => {
    expect(refusal({ ...pair, [`${toQ}.lora_A.weight`]: [2, 5] })).toMatch(/to_q has shapes \[2,5\] and \[4,2\], expected \[2,4\]/);
    expect(refusal({ ...pair, [`${toQ}.lora_B.weight`]: [4, 3] })).toMatch(/expected \[2,4\] and \[4,2\]/);
    expect(refusal({ [`${toQ}.lora_A.weight`]: [2, 4] })).toMatch(/only one of its two matrices/);
    expect(refusal({ ...pair, [`${toQ}.alpha`]: [2] })).toMatch(/an alpha of 2 numbers/);
    expect(refusal({ ...pair, [`${toQ}.alpha`]: scalar(Number.NaN) })).toMatch(/the alpha NaN/);
    const whole: TensorData = { dtype: 'int32', shape: [2, 4], data: new Int32Array(8) };
    expect(refusal({ ...pair, [`${toQ}.lora_A.weight`]: whole })).toMatch(/holds int32, not floating-point/);
    const name = 'lora_unet_down_blocks_0_resnets_0_conv1';
    const middle = {
      [`${name}.lora_down.weight`]: [2, 8, 1, 1],
      [`${name}.lora_up.weight`]: [4, 2, 1, 1],
      [`${name}.lora_mid.weight`]: [3, 2, 3, 3],
    };
    expect(refusal(middle)).toMatch(/a middle matrix of \[3,2,3,3\], expected \[2,2\]/);
    expect(refusal({ 'text.weight': [2] })).toMatch(/belong to no adapter/);
    expect(refusal({})).toMatch(/holds no adapter/);
  });
});

describe('magnitudes (DoRA)', () => {
  const kohya = `lora_unet_${ATTENTION.replaceAll('.', '_')}_to_q`;
  const conv1 = 'unet.down_blocks.0.resnets.0.conv1';
  const lengths = numbers([4], 7);

  test.each([
    [`${toQ}.lora_magnitude_vector`, [4]],
    [`${toQ}.lora_magnitude_vector.weight`, [4]],
    [`base_model.model.${ATTENTION}.to_q.lora_magnitude_vector.default.weight`, [4]],
    [`${kohya}.dora_scale`, [4, 1]],
  ] as const)('%s is read', (key, shape) => {
    expect(read({ ...pair, [key]: { ...lengths, shape } })[0].magnitude).toEqual(lengths);
    expect(read(pair)[0]).not.toHaveProperty('magnitude');
  });

  test('those of convolutions are, too; a scale of inputs, or of too many, is refused', () => {
    const matrices = { [`${conv1}.lora_A.weight`]: numbers([2, 8, 3, 3]), [`${conv1}.lora_B.weight`]: numbers([4, 2, 1, 1]) };
    const key = `${conv1}.lora_magnitude_vector`;
    expect(read({ ...matrices, [key]: numbers([1, 4, 1, 1], 7) })[0].magnitude).toEqual(lengths);
    expect(refusal({ ...matrices, [key]: [8] })).toMatch(/LORA_MISMATCH.*conv1 has magnitudes of shape \[8\], expected one for each of 4/);
    expect(refusal({ ...pair, [`${kohya}.dora_scale`]: [1, 4] })).toMatch(/LORA_MISMATCH.*magnitudes of shape \[1,4\]/);
  });
});

describe('scales', () => {
  const toOut = `unet.${ATTENTION}.to_out.0`;
  const text = `text_encoder.${TEXT}.q_proj`;
  const both = {
    ...pair,
    [`${toOut}.lora_A.weight`]: numbers([4, 4]),
    [`${toOut}.lora_B.weight`]: numbers([4, 4]),
    [`${text}.lora_A.weight`]: numbers([1, 6]),
    [`${text}.lora_B.weight`]: numbers([6, 1]),
  };
  const scales = (config: object, tensors: Record<string, TensorData> = both) =>
    Object.fromEntries(
      read(tensors, { lora_adapter_metadata: JSON.stringify(config) }).map(({ path, alpha, scale }) => [path, [alpha, scale]]),
    );

  test('peft’s configuration, by component; patterns are ends of paths, whole paths, or expressions, and the first counts', () => {
    const config = { 'unet.lora_alpha': 6, 'unet.use_rslora': true, 'text_encoder.lora_alpha': 3 };
    expect(scales(config)).toEqual({ [toQ]: [6, 6 / Math.sqrt(2)], [toOut]: [6, 3], [text]: [3, 3] });
    expect(scales({ 'unet.lora_alpha': 6 })[text]).toEqual([1, 1]);
    const pattern = (alpha_pattern: object) => scales({ 'unet.lora_alpha': 6, 'unet.alpha_pattern': alpha_pattern });
    expect(pattern({ to_q: 1, [toQ.slice(5)]: 2 })).toMatchObject({ [toQ]: [1, 0.5], [toOut]: [6, 1.5] });
    expect(pattern({ [`^${toQ.slice(5)}`]: 2, '^to_out.0': 3 })).toMatchObject({ [toQ]: [2, 1], [toOut]: [6, 1.5] });
    expect(pattern({ 'down_blocks\\.\\d+\\..*(to_q|to_out\\.0)': 4 })).toMatchObject({ [toQ]: [4, 2], [toOut]: [4, 1] });
    expect(pattern({ q: 1, __proto__: 2 })).toMatchObject({ [toQ]: [6, 3] });
    // peft's own default, of a configuration that says nothing.
    expect(scales({ 'unet.r': 2 })[toQ]).toEqual([8, 4]);
    // An alpha beside the matrices says more than one for all.
    expect(scales({ 'unet.lora_alpha': 6, 'unet.use_rslora': true }, { ...both, [`${toQ}.alpha`]: scalar(5) })).toMatchObject({
      [toQ]: [5, 2.5],
      [toOut]: [6, 3],
    });
  });

  test('the adapter_config.json that stands beside peft’s own files', () => {
    const peftConfig = JSON.stringify({
      peft_type: 'LORA',
      r: 2,
      lora_alpha: 7,
      alpha_pattern: { 'to_out.0': 2 },
      target_modules: ['to_q'],
    });
    const found = readLoraFile(file(both), modules, 'adapter_model.safetensors', { peftConfig });
    expect(Object.fromEntries(found.map(({ path, alpha }) => [path, alpha]))).toEqual({ [toQ]: 7, [toOut]: 2, [text]: 7 });
    const broken = () => readLoraFile(file(both), modules, 'a.safetensors', { peftConfig: '{' });
    expect(broken).toThrow(/BAD_JSON.*a.safetensors: the adapter_config.json beside it is not JSON/);
  });

  test('a configuration that is none is refused by name', () => {
    const refused = (config: string) => refusal(pair, { lora_adapter_metadata: config });
    expect(refused('{')).toMatch(/BAD_JSON.*my.safetensors: its lora_adapter_metadata is not JSON/);
    expect(refused('[1]')).toMatch(/BAD_JSON.*no JSON object/);
    expect(refused('null')).toMatch(/BAD_JSON.*no JSON object/);
    expect(refused('{"unet.lora_alpha": "x"}')).toMatch(/LORA_MISMATCH.*lora_alpha is "x"/);
    expect(refused('{"unet.use_rslora": "yes"}')).toMatch(/LORA_MISMATCH.*use_rslora is "yes"/);
    expect(refused('{"unet.alpha_pattern": {"to_q": true}}')).toMatch(/LORA_MISMATCH.*alpha_pattern.to_q is true/);
    expect(refused('{"unet.use_dora": true}')).toMatch(/LORA_MISMATCH.*says use_dora, and unet.*to_q has no magnitudes/);
    // An expression that would take years.
    const started = Date.now();
    expect(refused('{"unet.alpha_pattern": {"([a-z_.0-9]+)+!": 1}}')).toMatch(/LORA_MISMATCH.*alpha_pattern has the key/);
    expect(refused('{"unet.alpha_pattern": {"(": 1}}')).toMatch(/LORA_MISMATCH.*alpha_pattern has the key "\("/);
    expect(Date.now() - started).toBeLessThan(5000);
  });
});

describe('what is no LoRA of this model', () => {
  const name = `lora_unet_${ATTENTION.replaceAll('.', '_')}_to_q`;

  test.each([
    ['LoHa', `${name}.hada_w1_a`],
    ['LoKr', `${name}.lokr_w1`],
    ['OFT', `${name}.oft_blocks`],
    ['a LoRA with biases', `${toQ}.lora_B.bias`],
    ['an adapter of norms', `${name}.w_norm`],
    ['an embedding that is bundled', 'bundle_emb.cat.string_to_param.*'],
    ['a difference of whole weights', `${name}.diff`],
  ])('%s is refused by name: %s', (kind, key) => {
    expect(refusal({ ...pair, [key]: [4] })).toMatch(
      new RegExp(`LORA_MISMATCH.*my.safetensors: .*belongs to ${kind}.*, which is not supported`),
    );
  });

  test.each([
    ['SDXL', { 'lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight': [2, 4] }],
    ['SDXL', { 'lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q.lora_down.weight': [2, 4] }],
    ['SDXL', { [`unet.${ATTENTION}.to_k.lora_A.weight`]: [2, 2048], [`unet.${ATTENTION}.to_k.lora_B.weight`]: [4, 2] }],
    ['Stable Diffusion 2', { [`unet.${ATTENTION}.to_k.lora.down.weight`]: [2, 1024], [`unet.${ATTENTION}.to_k.lora.up.weight`]: [4, 2] }],
    ['Stable Diffusion 2', { 'lora_te_text_model_encoder_layers_22_self_attn_q_proj.lora_down.weight': [2, 1024] }],
    ['Flux', { 'transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight': [2, 4] }],
    ['Flux', { 'lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight': [2, 4] }],
    ['Stable Diffusion 3', { 'transformer.transformer_blocks.0.attn.to_q.lora_A.weight': [2, 4] }],
    ['Wan', { 'diffusion_model.blocks.0.self_attn.q.lora_A.weight': [2, 4] }],
  ])('an adapter of another family is refused, and which one is said: %s', (family, tensors) => {
    expect(refusal(tensors)).toMatch(
      new RegExp(`LORA_MISMATCH.*the adapter is one of ${family}, the model is built like Stable Diffusion 1`),
    );
  });

  test('metadata tell the family of an adapter whose modules would fit', () => {
    expect(refusal(pair, { ss_base_model_version: 'sd_v2_v', ss_v2: 'True' })).toMatch(/LORA_MISMATCH.*one of Stable Diffusion 2/);
    expect(refusal(pair, { 'modelspec.architecture': 'stable-diffusion-xl-v1-base/lora' })).toMatch(/LORA_MISMATCH.*one of SDXL/);
    expect(read(pair, { ss_base_model_version: 'sd_v1' })).toHaveLength(1);
    // What nobody knows says nothing.
    expect(read(pair, { ss_base_model_version: 'my own' })).toHaveLength(1);
    const wide = new Map([...modules, linear('unet.add_embedding.linear_1', 4, 4)]);
    expect(refusal(pair, { ss_base_model_version: 'sd_v1' }, wide)).toMatch(/one of Stable Diffusion 1, the model is built like SDXL/);
  });
});
