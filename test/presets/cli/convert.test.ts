import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { TensorData } from '../../../core/index.js';
import { standardModules } from '../../../plugins/models/stable-diffusion/modules.js';
import { readLoraFile } from '../../../plugins/persist/formats/lora-file.js';
import { readSafetensors, writeSafetensors } from '../../../plugins/persist/formats/safetensors.js';
import { addConvert } from '../../../presets/cli/convert.js';

let place: string;
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'steploom-convert-'));
  vi.spyOn(console, 'log').mockImplementation(() => undefined);
});
afterAll(async () => {
  vi.restoreAllMocks();
  await rm(place, { recursive: true });
});

const at = (name: string) => join(place, name);
const convert = (input: string, output: string, ...more: string[]) => {
  const program = new Command().exitOverride();
  addConvert(program);
  return program.parseAsync(['convert', '--input', at(input), '--output', at(output), ...more], { from: 'user' });
};
const read = async (name: string) => readSafetensors(await readFile(at(name)));

const numbers = (...shape: number[]): TensorData => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i + 1) / 3),
});
const scalar = (value: number): TensorData => ({ dtype: 'float32', shape: [], data: Float32Array.of(value) });

const name = 'lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k';
const text = 'lora_te2_text_model_encoder_layers_31_mlp_fc1';
const sdxl = {
  [`${name}.lora_down.weight`]: numbers(2, 2048),
  [`${name}.lora_up.weight`]: numbers(640, 2),
  [`${name}.alpha`]: scalar(1),
  [`${text}.lora_down.weight`]: numbers(4, 1280),
  [`${text}.lora_up.weight`]: numbers(5120, 4),
  [`${text}.alpha`]: scalar(3),
};

test('an adapter of a published family becomes diffusers’, and kohya’s again', async () => {
  const metadata = {
    ss_base_model_version: 'sdxl_base_v1-0',
    ss_output_name: 'cat',
    ss_tag_frequency: '{"a":{"b":1}}',
    'modelspec.resolution': '768x1152',
    'modelspec.hash_sha256': 'old',
    sshs_model_hash: 'old',
  };
  await writeFile(at('kohya.safetensors'), writeSafetensors(sdxl, { metadata }));
  await convert('kohya.safetensors', 'diffusers.safetensors', '--to', 'diffusers');
  const diffusers = await read('diffusers.safetensors');
  const unet = 'unet.down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k';
  const encoder = 'text_encoder_2.text_model.encoder.layers.31.mlp.fc1.lora_linear_layer';
  expect([...diffusers.tensors.keys()].sort()).toEqual(
    [`${unet}.lora.down.weight`, `${unet}.lora.up.weight`, `${encoder}.down.weight`, `${encoder}.up.weight`].sort(),
  );
  const { lora_adapter_metadata: config, ...carried } = diffusers.metadata;
  expect(JSON.parse(config)).toMatchObject({ 'unet.r': 2, 'unet.lora_alpha': 1, 'text_encoder_2.r': 4, 'text_encoder_2.lora_alpha': 3 });
  expect(carried).toEqual({
    format: 'pt',
    ss_base_model_version: 'sdxl_base_v1-0',
    ss_output_name: 'cat',
    ss_tag_frequency: '{"a":{"b":1}}',
    'modelspec.resolution': '768x1152',
  });

  await convert('diffusers.safetensors', 'again.safetensors', '--to', 'kohya');
  const again = await read('again.safetensors');
  expect(again.tensors).toEqual(new Map(Object.entries(sdxl).map(([key, { shape, data, dtype }]) => [key, { dtype, shape, data }])));
  expect(again.metadata).toMatchObject({
    ss_output_name: 'cat',
    ss_tag_frequency: '{"a":{"b":1}}',
    ss_network_dim: 'Dynamic',
    'modelspec.resolution': '768x1152',
    'modelspec.prediction_type': 'epsilon',
  });
  expect(again.metadata.sshs_model_hash).toMatch(/^[0-9a-f]{64}$/);

  await convert('kohya.safetensors', 'half.safetensors', '--to', 'kohya', '--half');
  const half = readLoraFile(await readFile(at('half.safetensors')), standardModules('sdxl'));
  expect(half.map(({ rank, alpha }) => [rank, alpha])).toEqual([
    [4, 3],
    [2, 1],
  ]);
  expect((await readFile(at('half.safetensors'))).length).toBeLessThan(0.6 * (await readFile(at('again.safetensors'))).length);
});

test('the family comes from the file, or the modules from a model', async () => {
  const module = 'unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q';
  const own = { [`${module}.lora_A.weight`]: numbers(2, 4), [`${module}.lora_B.weight`]: numbers(4, 2) };
  await writeFile(at('small.safetensors'), writeSafetensors(own));
  await expect(convert('small.safetensors', 'out.safetensors', '--to', 'kohya')).rejects.toThrow(
    /OPTION_MISSING.*small.safetensors does not tell which model.*--pretrained_model_name_or_path/,
  );
  const config = {
    block_out_channels: [4],
    down_block_types: ['CrossAttnDownBlock2D'],
    up_block_types: ['CrossAttnUpBlock2D'],
    norm_num_groups: 2,
    attention_head_dim: 2,
    cross_attention_dim: 8,
  };
  await mkdir(at('model/unet'), { recursive: true });
  await mkdir(at('model/text_encoder'));
  await mkdir(at('model/scheduler'));
  await writeFile(at('model/model_index.json'), '{"_class_name":"StableDiffusionPipeline","vae":["diffusers","AutoencoderKL"]}');
  await mkdir(at('model/vae'));
  await writeFile(at('model/vae/config.json'), '{}');
  await writeFile(at('model/scheduler/scheduler_config.json'), '{"prediction_type":"v_prediction"}');
  await writeFile(at('model/unet/config.json'), JSON.stringify(config));
  await writeFile(at('model/text_encoder/config.json'), JSON.stringify({ hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2 }));
  await convert('small.safetensors', 'small.kohya.safetensors', '--to', 'kohya', '--pretrained_model_name_or_path', at('model'));
  const { tensors, metadata } = await read('small.kohya.safetensors');
  expect([...tensors.keys()].sort()).toEqual(
    ['alpha', 'lora_down.weight', 'lora_up.weight'].map((end) => `lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.${end}`),
  );
  expect(metadata).toMatchObject({ ss_base_model_version: 'sd_v1', ss_output_name: 'small', ss_network_dim: '2' });
  expect(metadata['modelspec.prediction_type']).toBe('v');
});

test('adapters of other families, and what is no LoRA, are refused by name', async () => {
  const flux = 'transformer.single_transformer_blocks.0.attn.to_q';
  await writeFile(
    at('flux.safetensors'),
    writeSafetensors({ [`${flux}.lora_A.weight`]: numbers(2, 4), [`${flux}.lora_B.weight`]: numbers(4, 2) }),
  );
  await expect(convert('flux.safetensors', 'out.safetensors', '--to', 'kohya')).rejects.toThrow(/LORA_MISMATCH.*an adapter of Flux/);
  await writeFile(at('loha.safetensors'), writeSafetensors({ 'lora_unet_a.hada_w1_a': numbers(2, 4) }));
  await expect(convert('loha.safetensors', 'out.safetensors', '--to', 'kohya')).rejects.toThrow(/LORA_MISMATCH.*belongs to LoHa/);
  expect(existsSync(at('out.safetensors'))).toBe(false);
});

test('into a folder, under the name that programs look for there', async () => {
  await convert('kohya.safetensors', 'my.folder', '--to', 'diffusers');
  await convert('my.folder', 'my.folder', '--to', 'kohya');
  expect((await readdir(at('my.folder'))).sort()).toEqual(['my.folder.kohya.safetensors', 'pytorch_lora_weights.safetensors']);
  expect((await read('my.folder/my.folder.kohya.safetensors')).tensors).toEqual((await read('again.safetensors')).tensors);
  await expect(convert('kohya.safetensors', 'my.folder', '--to', 'diffusers')).rejects.toThrow(
    /OPTION_INVALID.*pytorch_lora_weights.safetensors already/,
  );
});

test('a file that is there is not written over, unless that is asked for', async () => {
  await writeFile(at('kept.safetensors'), 'mine');
  await expect(convert('kohya.safetensors', 'kept.safetensors', '--to', 'diffusers')).rejects.toThrow(
    /OPTION_INVALID.*kept.safetensors already.*--overwrite/,
  );
  expect(await readFile(at('kept.safetensors'), 'utf8')).toBe('mine');
  await convert('kohya.safetensors', 'kept.safetensors', '--to', 'diffusers', '--overwrite');
  expect((await read('kept.safetensors')).tensors.size).toBe(4);
});
