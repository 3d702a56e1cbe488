import { z } from 'zod';
import { fail } from '../../../core/index.js';
import { flag, layerCounts, off, oneOrList, only, parseDiffusersConfig, size } from '../layers/parse-config.js';

/** The options of diffusers' UNet2DConditionModel that are supported; any other value is an error that names the option. */
const schema = z.strictObject({
  sample_size: z.union([size, z.array(z.number()), z.null()]).optional(),
  in_channels: size.default(4),
  out_channels: size.default(4),
  center_input_sample: flag(false),
  flip_sin_to_cos: flag(true),
  freq_shift: z.number().default(0),
  down_block_types: z
    .array(z.enum(['DownBlock2D', 'CrossAttnDownBlock2D']))
    .default(['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D']),
  mid_block_type: only('UNetMidBlock2DCrossAttn'),
  up_block_types: z
    .array(z.enum(['UpBlock2D', 'CrossAttnUpBlock2D']))
    .default(['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D']),
  only_cross_attention: off(),
  block_out_channels: z.array(size).max(64).default([320, 640, 1280, 1280]),
  layers_per_block: layerCounts.default(2),
  downsample_padding: only(1),
  mid_block_scale_factor: z.number().default(1),
  dropout: only(0),
  act_fn: only('silu', 'swish'),
  norm_num_groups: size.default(32),
  norm_eps: z.number().positive().default(1e-5),
  cross_attention_dim: oneOrList.default(1280),
  transformer_layers_per_block: layerCounts.default(1),
  reverse_transformer_layers_per_block: only(null),
  encoder_hid_dim: only(null),
  encoder_hid_dim_type: only(null),
  attention_head_dim: oneOrList.default(8),
  num_attention_heads: oneOrList.nullable().optional(),
  dual_cross_attention: off(),
  use_linear_projection: flag(false),
  class_embed_type: only(null),
  addition_embed_type: z.literal('text_time', 'only "text_time" or null is supported').nullable().default(null),
  addition_time_embed_dim: size.nullable().optional(),
  num_class_embeds: only(null),
  upcast_attention: flag(false),
  resnet_time_scale_shift: only('default'),
  resnet_skip_time_act: off(),
  resnet_out_scale_factor: z.number().default(1),
  time_embedding_type: only('positional'),
  time_embedding_dim: size.nullable().optional(),
  time_embedding_act_fn: only(null),
  timestep_post_act: only(null),
  time_cond_proj_dim: only(null),
  conv_in_kernel: size.default(3),
  conv_out_kernel: size.default(3),
  projection_class_embeddings_input_dim: size.nullable().optional(),
  attention_type: only('default'),
  class_embeddings_concat: off(),
  mid_block_only_cross_attention: off(),
  cross_attention_norm: only(null),
  addition_embed_type_num_heads: z.unknown().optional(),
});

export type UNetConfig = z.input<typeof schema>;

/** The same with every default filled in. */
export type ParsedUNetConfig = z.output<typeof schema>;

/** Checks a config.json: every unknown option and unsupported value is named. Keys that begin with _ are diffusers' notes. */
export function parseUNetConfig(json: object, where = 'unet/config.json'): ParsedUNetConfig {
  const config = parseDiffusersConfig(schema, json, 'model', where);
  if (
    config.down_block_types.length !== config.block_out_channels.length ||
    config.up_block_types.length !== config.block_out_channels.length
  )
    fail(
      'UNSUPPORTED_OPTION',
      'model',
      `${where}: down_block_types, up_block_types and block_out_channels differ in length`,
      'Give one entry a level.',
    );
  for (const [name, value] of Object.entries(config))
    if (Array.isArray(value) && typeof value[0] === 'number' && name !== 'sample_size' && value.length !== config.block_out_channels.length)
      fail(
        'UNSUPPORTED_OPTION',
        'model',
        `${where}: ${name} has ${value.length} entries for ${config.block_out_channels.length} levels`,
        'Give one entry a level.',
      );
  if (config.addition_embed_type && !(config.addition_time_embed_dim && config.projection_class_embeddings_input_dim))
    fail(
      'UNSUPPORTED_OPTION',
      'model',
      `${where}: addition_embed_type "text_time" without addition_time_embed_dim and projection_class_embeddings_input_dim`,
      'Give both.',
    );
  return config;
}

/** An option's value at a level: options are one number for all, or one a level. */
export const atLevel = (value: number | readonly number[], i: number): number => (typeof value === 'number' ? value : value[i]);
