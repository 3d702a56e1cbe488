import { type Context, fail, type Tensor } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { silu } from '../../devices/compute/activations.js';
import { upsample2x } from '../../devices/compute/convolution.js';
import { Builder } from '../layers/builder.js';
import { remembered } from '../layers/remembered.js';
import { type Transformer2D, unetBlocks } from './blocks.js';
import { atLevel, parseUNetConfig } from './config.js';
import { timestepEmbedding } from './timestep-embedding.js';

/**
 * x doubled, at the size of the skip that comes next. Of an odd height or width, doubling gives one row or column too many; nearest-neighbour
 * interpolation to the skip's size, which diffusers does there, is the same as leaving it out.
 */
function upsampled(x: Tensor, skip: Tensor): Tensor {
  const doubled = upsample2x(x);
  const [n, h, w] = skip.shape;
  const fits = doubled.shape[1] === h && doubled.shape[2] === w;
  return fits ? doubled : doubled.slice([0, 0, 0, 0], [n, h as number, w as number, x.shape[3] as number]);
}

/** What SDXL's denoiser is told beside the text's states. */
export interface AddedConditions {
  /** One vector a picture, [n, width]: the projected pooled state of the second text encoder. */
  readonly pooled: Tensor;
  /** Six numbers a picture: see timeIds. */
  readonly timeIds: readonly (readonly number[])[];
}

/**
 * diffusers' UNet2DConditionModel under its parameter names. Images are [n, h, w, c], `timesteps` n numbers, text
 * [n, l, cross_attention_dim]. One with addition_embed_type text_time (SDXL) needs `added`.
 */
export function unet2DCondition(json: object, prefix = 'unet.') {
  const config = parseUNetConfig(json);
  const channels = config.block_out_channels;
  const levels = channels.length;
  const build = new Builder(prefix);
  const embedded = config.time_embedding_dim ?? channels[0] * 4;
  const { resnet, transformer } = unetBlocks(build, config, embedded);
  const attentionAt = (path: string, level: number): Transformer2D =>
    transformer(
      path,
      channels[level],
      atLevel(config.num_attention_heads ?? config.attention_head_dim, level),
      atLevel(config.transformer_layers_per_block, level),
      atLevel(config.cross_attention_dim, level),
    );

  const convIn = build.conv('conv_in', config.in_channels, channels[0], config.conv_in_kernel);
  const time1 = build.linear('time_embedding.linear_1', channels[0], embedded);
  const time2 = build.linear('time_embedding.linear_2', embedded, embedded);

  const { addition_time_embed_dim: addedWidth, projection_class_embeddings_input_dim: addedInput } = config;
  const add1 = config.addition_embed_type ? build.linear('add_embedding.linear_1', addedInput as number, embedded) : null;
  const add2 = add1 ? build.linear('add_embedding.linear_2', embedded, embedded) : null;

  const skipSizes = [channels[0]];
  const down = config.down_block_types.map((type, i) => {
    const path = `down_blocks.${i}`;
    const size = channels[i];
    const layers = atLevel(config.layers_per_block, i);
    const steps = Array.from({ length: layers }, (_, j) => {
      skipSizes.push(size);
      return {
        resnet: resnet(`${path}.resnets.${j}`, j === 0 ? channels[Math.max(0, i - 1)] : size, size, config.resnet_out_scale_factor),
        attention: type === 'CrossAttnDownBlock2D' ? attentionAt(`${path}.attentions.${j}`, i) : null,
      };
    });
    const sampler = i < levels - 1 ? build.conv(`${path}.downsamplers.0.conv`, size, size, 3, 2, 1) : null;
    if (sampler) skipSizes.push(size);
    return { steps, sampler };
  });

  const widest = channels[levels - 1];
  const mid = [0, 1].map((j) => resnet(`mid_block.resnets.${j}`, widest, widest, config.mid_block_scale_factor));
  const midAttention = attentionAt('mid_block.attentions.0', levels - 1);

  const up = config.up_block_types.map((type, k) => {
    const i = levels - 1 - k;
    const path = `up_blocks.${k}`;
    const size = channels[i];
    const steps = Array.from({ length: atLevel(config.layers_per_block, i) + 1 }, (_, j) => {
      const from = j === 0 ? channels[Math.min(levels - 1, i + 1)] : size;
      return {
        resnet: resnet(`${path}.resnets.${j}`, from + (skipSizes.pop() as number), size, config.resnet_out_scale_factor),
        attention: type === 'CrossAttnUpBlock2D' ? attentionAt(`${path}.attentions.${j}`, i) : null,
      };
    });
    return { steps, sampler: k < levels - 1 ? build.conv(`${path}.upsamplers.0.conv`, size, size, 3) : null };
  });

  const normOut = build.groupNorm('conv_norm_out', channels[0], config.norm_num_groups, config.norm_eps, true);
  const convOut = build.conv('conv_out', channels[0], config.out_channels, config.conv_out_kernel);

  // Timesteps are few: a large batch holds most of them every time. Sizes of pictures are few too.
  const sinusoids = (width: number) =>
    remembered((t: number) => timestepEmbedding(t, width, config.flip_sin_to_cos, config.freq_shift), 4096);
  const waveOf = sinusoids(channels[0]);
  const sizeWaveOf = sinusoids(addedWidth ?? 0);
  const waves = (numbers: readonly number[], width: number, wave: typeof waveOf): Float32Array => {
    const all = new Float32Array(numbers.length * width);
    for (const [i, number] of numbers.entries()) all.set(wave(number), i * width);
    return all;
  };

  /** The embedding of the timesteps' sinusoids, and of what is added to them. */
  function embedding(context: Context, times: Tensor, added?: Tensor): Tensor {
    const time = time2(context, silu(time1(context, times)));
    return add1 && add2 && added ? time.add(add2(context, silu(add1(context, added)))) : time;
  }

  const denoise = build.graph((context: Context, image: Tensor, text: Tensor, times: Tensor, added?: Tensor) => {
    // Every block applies silu to the embedding first, so it is applied once here.
    const temb = silu(embedding(context, times, added));
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
      if (sampler) x = sampler(context, upsampled(x, skips[skips.length - 1]));
    }
    return convOut(context, normOut(context, x));
  });

  /** What is added to the timesteps: pooled states, and the sinusoids of sizes. */
  function addedStates(n: number, added?: AddedConditions): Tensor {
    if (!added)
      return fail('MODEL_UNFIT', 'model', 'this denoiser also needs pooled text states and time ids', 'Give both: it is one of SDXL.');
    const ids = added.timeIds.flat();
    const sizes = tf.tensor2d(waves(ids, addedWidth as number, sizeWaveOf), [n, (ids.length / n) * (addedWidth as number)]);
    return tf.concat([added.pooled, sizes], 1);
  }

  return {
    config,
    specs: build.specs,
    modules: build.modules,
    blocks: build.blocks,
    graphs: build.graphs,
    forward(context: Context, image: Tensor, timesteps: readonly number[], text: Tensor, added?: AddedConditions): Tensor {
      const n = timesteps.length;
      const times = tf.tensor2d(waves(timesteps, channels[0], waveOf), [n, channels[0]]);
      return add1 ? denoise(context, image, text, times, addedStates(n, added)) : denoise(context, image, text, times);
    },
  };
}
