import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { type Context, fail, type Tensor } from '../../../core/index.js';
import { attention, geglu, silu, upsample2x } from '../../devices/compute/operations.js';
import { remembered } from '../clip/remembered.js';
import { type Apply, Builder } from '../layers/builder.js';

const oneOrList = z.union([z.number().int().positive(), z.array(z.number().int().positive())]);
const only = <T extends string | number | boolean | null>(...values: T[]) =>
  z.custom<T>((value) => values.includes(value as T), `only ${values.map((v) => JSON.stringify(v)).join(' or ')} is supported`).optional();

/** The options of diffusers' UNet2DConditionModel that are supported; any other value is an error that names the option. */
const schema = z.strictObject({
  sample_size: z.union([z.number().int().positive(), z.array(z.number()), z.null()]).optional(),
  in_channels: z.number().int().positive().default(4),
  out_channels: z.number().int().positive().default(4),
  center_input_sample: z.boolean().default(false),
  flip_sin_to_cos: z.boolean().default(true),
  freq_shift: z.number().default(0),
  down_block_types: z
    .array(z.enum(['DownBlock2D', 'CrossAttnDownBlock2D']))
    .default(['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D']),
  mid_block_type: only('UNetMidBlock2DCrossAttn'),
  up_block_types: z
    .array(z.enum(['UpBlock2D', 'CrossAttnUpBlock2D']))
    .default(['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D']),
  only_cross_attention: only(false),
  block_out_channels: z.array(z.number().int().positive()).default([320, 640, 1280, 1280]),
  layers_per_block: oneOrList.default(2),
  downsample_padding: only(1),
  mid_block_scale_factor: z.number().default(1),
  dropout: only(0),
  act_fn: only('silu', 'swish'),
  norm_num_groups: z.number().int().positive().default(32),
  norm_eps: z.number().positive().default(1e-5),
  cross_attention_dim: oneOrList.default(1280),
  transformer_layers_per_block: oneOrList.default(1),
  reverse_transformer_layers_per_block: only(null),
  encoder_hid_dim: only(null),
  encoder_hid_dim_type: only(null),
  attention_head_dim: oneOrList.default(8),
  num_attention_heads: oneOrList.nullable().optional(),
  dual_cross_attention: only(false),
  use_linear_projection: z.boolean().default(false),
  class_embed_type: only(null),
  addition_embed_type: only(null),
  addition_time_embed_dim: z.unknown().optional(),
  num_class_embeds: only(null),
  upcast_attention: z.boolean().optional(),
  resnet_time_scale_shift: only('default'),
  resnet_skip_time_act: only(false),
  resnet_out_scale_factor: z.number().default(1),
  time_embedding_type: only('positional'),
  time_embedding_dim: z.number().int().positive().nullable().optional(),
  time_embedding_act_fn: only(null),
  timestep_post_act: only(null),
  time_cond_proj_dim: only(null),
  conv_in_kernel: z.number().int().positive().default(3),
  conv_out_kernel: z.number().int().positive().default(3),
  projection_class_embeddings_input_dim: only(null),
  attention_type: only('default'),
  class_embeddings_concat: only(false),
  mid_block_only_cross_attention: only(null),
  cross_attention_norm: only(null),
  addition_embed_type_num_heads: z.unknown().optional(),
});

export type UNetConfig = z.input<typeof schema>;

/** Checks a config.json: every unknown option and unsupported value is named. Keys that begin with _ are diffusers' notes. */
export function parseUNetConfig(json: object, where = 'unet/config.json') {
  const options = Object.fromEntries(Object.entries(json).filter(([key]) => !key.startsWith('_')));
  const parsed = schema.safeParse(options);
  if (!parsed.success)
    fail(
      'UNSUPPORTED_OPTION',
      'model',
      `${where}: ${parsed.error.issues.map((issue) => `${issue.code === 'unrecognized_keys' ? issue.keys.join(', ') : issue.path.join('.')}: ${issue.message}`).join('; ')}`,
      'This model cannot be built as it is described there.',
    );
  const config = parsed.data;
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
  return config;
}

const at = (value: number | readonly number[], i: number): number => (typeof value === 'number' ? value : value[i]);

/** Sinusoidal embedding of one timestep, [dim], computed on the host: sin and cos on some devices are off by 1e-4. */
function timestepEmbedding(t: number, dim: number, flipSinToCos: boolean, freqShift: number): Float32Array {
  const half = Math.floor(dim / 2);
  const out = new Float32Array(dim);
  for (let i = 0; i < half; i++) {
    const angle = t * Math.exp((-Math.log(10000) * i) / (half - freqShift));
    out[flipSinToCos ? half + i : i] = Math.sin(angle);
    out[flipSinToCos ? i : half + i] = Math.cos(angle);
  }
  return out;
}

type Resnet = (context: Context, x: Tensor, temb: Tensor) => Tensor;
type Transformer = (context: Context, x: Tensor, text: Tensor) => Tensor;

/**
 * diffusers' UNet2DConditionModel under its own parameter names. Images are [n, h, w, c], `timesteps` n numbers, text
 * [n, l, cross_attention_dim].
 */
export function unet2DCondition(json: object, prefix = 'unet.') {
  const config = parseUNetConfig(json);
  const channels = config.block_out_channels;
  const groups = config.norm_num_groups;
  const levels = channels.length;
  const build = new Builder(prefix);
  const embedded = config.time_embedding_dim ?? channels[0] * 4;
  const headsAt = (i: number): number => at(config.num_attention_heads ?? config.attention_head_dim, i);

  function resnet(path: string, size: number, out: number, divisor: number): Resnet {
    const norm1 = build.groupNorm(`${path}.norm1`, size, groups, config.norm_eps, true);
    const conv1 = build.conv(`${path}.conv1`, size, out, 3);
    const project = build.linear(`${path}.time_emb_proj`, embedded, out);
    const norm2 = build.groupNorm(`${path}.norm2`, out, groups, config.norm_eps, true);
    const conv2 = build.conv(`${path}.conv2`, out, out, 3);
    const shortcut = size === out ? null : build.conv(`${path}.conv_shortcut`, size, out, 1);
    return (context, x, temb) => {
      const h = conv1(context, norm1(context, x)).add(project(context, temb).reshape([-1, 1, 1, out]));
      const sum = conv2(context, norm2(context, h)).add(shortcut ? shortcut(context, x) : x);
      return divisor === 1 ? sum : sum.div(divisor);
    };
  }

  function attend(path: string, size: number, from: number, heads: number): (context: Context, x: Tensor, text: Tensor) => Tensor {
    const [q, k, v] = [
      ['to_q', size],
      ['to_k', from],
      ['to_v', from],
    ].map(([name, width]) => build.linear(`${path}.${name}`, width as number, size, false));
    const out = build.linear(`${path}.to_out.0`, size, size);
    return (context, x, text) => out(context, attention(q(context, x), k(context, text), v(context, text), heads));
  }

  function transformer(path: string, size: number, heads: number, layers: number, from: number): Transformer {
    const norm = build.groupNorm(`${path}.norm`, size, groups, 1e-6, false);
    const linear = config.use_linear_projection;
    const projection = (name: string): Apply =>
      linear ? build.linear(`${path}.${name}`, size, size) : build.conv(`${path}.${name}`, size, size, 1);
    const projIn = projection('proj_in');
    const blocks = Array.from({ length: layers }, (_, i) => {
      const p = `${path}.transformer_blocks.${i}`;
      const norms = [1, 2, 3].map((n) => build.layerNorm(`${p}.norm${n}`, size, 1e-5));
      const self = attend(`${p}.attn1`, size, size, heads);
      const cross = attend(`${p}.attn2`, size, from, heads);
      const up = build.linear(`${p}.ff.net.0.proj`, size, size * 8);
      const down = build.linear(`${p}.ff.net.2`, size * 4, size);
      return (context: Context, x: Tensor, text: Tensor) => {
        const own = norms[0](context, x);
        const a = x.add(self(context, own, own));
        const b = a.add(cross(context, norms[1](context, a), text));
        return b.add(down(context, geglu(up(context, norms[2](context, b)))));
      };
    });
    const projOut = projection('proj_out');
    return (context, x, text) => {
      const [n, h, w, c] = x.shape;
      const tokens = [n, h * w, c];
      const normed = norm(context, x);
      let y = linear ? projIn(context, normed.reshape(tokens)) : projIn(context, normed).reshape(tokens);
      for (const block of blocks) y = block(context, y, text);
      y = linear ? projOut(context, y).reshape(x.shape) : projOut(context, y.reshape(x.shape));
      return y.add(x);
    };
  }

  const convIn = build.conv('conv_in', config.in_channels, channels[0], config.conv_in_kernel);
  const time1 = build.linear('time_embedding.linear_1', channels[0], embedded);
  const time2 = build.linear('time_embedding.linear_2', embedded, embedded);

  const skipSizes = [channels[0]];
  const down = config.down_block_types.map((type, i) => {
    const path = `down_blocks.${i}`;
    const size = channels[i];
    const layers = at(config.layers_per_block, i);
    const steps = Array.from({ length: layers }, (_, j) => {
      skipSizes.push(size);
      return {
        resnet: resnet(`${path}.resnets.${j}`, j === 0 ? channels[Math.max(0, i - 1)] : size, size, config.resnet_out_scale_factor),
        attention:
          type === 'CrossAttnDownBlock2D'
            ? transformer(
                `${path}.attentions.${j}`,
                size,
                headsAt(i),
                at(config.transformer_layers_per_block, i),
                at(config.cross_attention_dim, i),
              )
            : null,
      };
    });
    const sampler = i < levels - 1 ? build.conv(`${path}.downsamplers.0.conv`, size, size, 3, 2, 1) : null;
    if (sampler) skipSizes.push(size);
    return { steps, sampler };
  });

  const widest = channels[levels - 1];
  const mid = [0, 1].map((j) => resnet(`mid_block.resnets.${j}`, widest, widest, config.mid_block_scale_factor));
  const midAttention = transformer(
    'mid_block.attentions.0',
    widest,
    headsAt(levels - 1),
    at(config.transformer_layers_per_block, levels - 1),
    at(config.cross_attention_dim, levels - 1),
  );

  const up = config.up_block_types.map((type, k) => {
    const i = levels - 1 - k;
    const path = `up_blocks.${k}`;
    const size = channels[i];
    const steps = Array.from({ length: at(config.layers_per_block, i) + 1 }, (_, j) => {
      const from = j === 0 ? channels[Math.min(levels - 1, i + 1)] : size;
      return {
        resnet: resnet(`${path}.resnets.${j}`, from + (skipSizes.pop() as number), size, config.resnet_out_scale_factor),
        attention:
          type === 'CrossAttnUpBlock2D'
            ? transformer(
                `${path}.attentions.${j}`,
                size,
                headsAt(i),
                at(config.transformer_layers_per_block, i),
                at(config.cross_attention_dim, i),
              )
            : null,
      };
    });
    return { steps, sampler: k < levels - 1 ? build.conv(`${path}.upsamplers.0.conv`, size, size, 3) : null };
  });

  const normOut = build.groupNorm('conv_norm_out', channels[0], groups, config.norm_eps, true);
  const convOut = build.conv('conv_out', channels[0], config.out_channels, config.conv_out_kernel);

  // Timesteps are few: a large batch holds most of them every time.
  const waveOf = remembered((t: number) => timestepEmbedding(t, channels[0], config.flip_sin_to_cos, config.freq_shift), 4096);

  return {
    config,
    specs: build.specs,
    modules: build.modules,
    forward(context: Context, image: Tensor, timesteps: readonly number[], text: Tensor): Tensor {
      const waves = new Float32Array(timesteps.length * channels[0]);
      for (const [n, t] of timesteps.entries()) waves.set(waveOf(t), n * channels[0]);
      // Every block applies silu to the embedding first, so it is applied once here.
      const temb = silu(time2(context, silu(time1(context, tf.tensor2d(waves, [timesteps.length, channels[0]])))));
      let x = convIn(context, config.center_input_sample ? image.mul(2).sub(1) : image);
      const skips = [x];
      for (const { steps, sampler } of down) {
        for (const step of steps) {
          x = step.resnet(context, x, temb);
          if (step.attention) x = step.attention(context, x, text);
          skips.push(x);
        }
        if (sampler) skips.push((x = sampler(context, x)));
      }
      x = mid[0](context, x, temb);
      x = midAttention(context, x, text);
      x = mid[1](context, x, temb);
      for (const { steps, sampler } of up) {
        for (const step of steps) {
          x = step.resnet(context, tf.concat([x, skips.pop() as Tensor], 3), temb);
          if (step.attention) x = step.attention(context, x, text);
        }
        if (sampler) x = sampler(context, upsample2x(x));
      }
      return convOut(context, normOut(context, x));
    },
  };
}
