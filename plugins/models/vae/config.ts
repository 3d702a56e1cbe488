import { z } from 'zod';
import { fail } from '../../../core/index.js';
import { only, parseDiffusersConfig, size } from '../layers/parse-config.js';

const perChannel = z.array(z.number()).max(64).nullable().default(null);

/** The options of diffusers' AutoencoderKL; any other value is an error that names the option. */
const schema = z.strictObject({
  in_channels: size.default(3),
  out_channels: size.default(3),
  down_block_types: z
    .array(z.literal('DownEncoderBlock2D', 'only "DownEncoderBlock2D" is supported'))
    .min(1)
    .default(['DownEncoderBlock2D']),
  up_block_types: z.array(z.literal('UpDecoderBlock2D', 'only "UpDecoderBlock2D" is supported')).min(1).default(['UpDecoderBlock2D']),
  block_out_channels: z.array(size).min(1).max(12).default([64]),
  layers_per_block: size.max(64).default(1),
  act_fn: only('silu', 'swish'),
  latent_channels: size.max(64).default(4),
  norm_num_groups: size.default(32),
  // Notes: the usual size of a picture, and that float16 overflows. Everything is computed in float32 here.
  sample_size: z.unknown().optional(),
  force_upcast: z.unknown().optional(),
  // Files from before diffusers 0.8 leave it out.
  scaling_factor: z.number().positive().default(0.18215),
  shift_factor: z.number().nullable().default(null),
  latents_mean: perChannel,
  latents_std: perChannel,
  use_quant_conv: z.boolean().default(true),
  use_post_quant_conv: z.boolean().default(true),
  mid_block_add_attention: z.boolean().default(true),
});

export type AutoencoderKLConfig = z.input<typeof schema>;

/** The same with every default filled in. */
export type ParsedAutoencoderKLConfig = z.output<typeof schema>;

/** Checks a config.json; UNSUPPORTED_OPTION names every option and value that cannot be built. */
export function parseAutoencoderKLConfig(json: object, where = 'vae/config.json'): ParsedAutoencoderKLConfig {
  const config = parseDiffusersConfig(schema, json, 'model', where);
  const refuse = (what: string, fix: string): never => fail('UNSUPPORTED_OPTION', 'model', `${where}: ${what}`, fix);
  const { length } = config.block_out_channels;
  if (config.down_block_types.length !== length || config.up_block_types.length !== length)
    refuse('down_block_types, up_block_types and block_out_channels differ in length', 'Give one entry a level.');
  const { latents_mean: mean, latents_std: std } = config;
  for (const [name, value] of Object.entries({ latents_mean: mean, latents_std: std }))
    if (value && value.length !== config.latent_channels)
      refuse(`${name} has ${value.length} entries for ${config.latent_channels} channels`, 'Give one entry a channel.');
  if ((mean === null) !== (std === null)) refuse('one of latents_mean and latents_std is missing', 'Give both or neither.');
  if (mean && config.shift_factor !== null) refuse('latents_mean and shift_factor both say where latents are centred', 'Give one of them.');
  return config;
}
