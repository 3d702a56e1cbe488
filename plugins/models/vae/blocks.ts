import type { Context, Tensor } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { attentionBySlices } from '../../devices/compute/attention.js';
import { upsample2x } from '../../devices/compute/convolution.js';
import type { Apply, Builder } from '../layers/builder.js';
import { resnetBlock } from '../layers/resnet.js';
import type { ParsedAutoencoderKLConfig } from './config.js';

/** diffusers has it fixed here, whatever a config says of other networks. */
const EPSILON = 1e-6;

/** One after the other; what each leaves on the way is freed before the next, since at 512 px a single activation has 134 MB. */
const chain =
  (steps: readonly Apply[]): Apply =>
  (context, x) =>
    tf.tidy(() => {
      let h = x;
      for (const step of steps) {
        const next = tf.tidy(() => step(context, h));
        if (h !== x) h.dispose();
        h = next;
      }
      return h;
    });

/** diffusers' Encoder and Decoder, under their parameter names; each notes its weights in `build`. */
export function autoencoderBlocks(build: Builder, config: ParsedAutoencoderKLConfig) {
  const channels = config.block_out_channels;
  const groups = config.norm_num_groups;
  const widest = channels[channels.length - 1];

  const resnet = (path: string, size: number, out: number): Apply => resnetBlock(build, path, size, out, { groups, epsilon: EPSILON });

  /** Attention of every pixel to all, with one head. */
  function attend(path: string, size: number): Apply {
    const norm = build.groupNorm(`${path}.group_norm`, size, groups, EPSILON, false);
    const [q, k, v, out] = ['to_q', 'to_k', 'to_v', 'to_out.0'].map((name) => build.linear(`${path}.${name}`, size, size));
    return (context, x) => {
      const [n, h, w, c] = x.shape;
      const tokens = norm(context, x).reshape([n, h * w, c]);
      const attended = attentionBySlices(q(context, tokens), k(context, tokens), v(context, tokens), 1);
      return out(context, attended, x.reshape([n, h * w, c])).reshape(x.shape);
    };
  }

  const middle = (path: string): Apply[] => [
    resnet(`${path}.resnets.0`, widest, widest),
    ...(config.mid_block_add_attention ? [attend(`${path}.attentions.0`, widest)] : []),
    resnet(`${path}.resnets.1`, widest, widest),
  ];

  const ending = (path: string, size: number, out: number): Apply[] => [
    build.groupNorm(`${path}.conv_norm_out`, size, groups, EPSILON, true),
    build.conv(`${path}.conv_out`, size, out, 3),
  ];

  /** Halves height and width; pads one row and one column, at the far side only. */
  function downsampler(path: string, size: number): Apply {
    const conv = build.conv(path, size, size, 3, 2, 0);
    const far: [number, number][] = [
      [0, 0],
      [0, 1],
      [0, 1],
      [0, 0],
    ];
    return (context: Context, x: Tensor) => conv(context, tf.pad(x, far));
  }

  function upsampler(path: string, size: number): Apply {
    const conv = build.conv(path, size, size, 3);
    return (context, x) => conv(context, upsample2x(x));
  }

  function encoder(out: number): Apply {
    const steps = [build.conv('encoder.conv_in', config.in_channels, channels[0], 3)];
    for (const [i, size] of channels.entries()) {
      const path = `encoder.down_blocks.${i}`;
      for (let j = 0; j < config.layers_per_block; j++)
        steps.push(resnet(`${path}.resnets.${j}`, j === 0 ? channels[Math.max(0, i - 1)] : size, size));
      if (i < channels.length - 1) steps.push(downsampler(`${path}.downsamplers.0.conv`, size));
    }
    return chain([...steps, ...middle('encoder.mid_block'), ...ending('encoder', widest, out)]);
  }

  function decoder(): Apply {
    const steps = [build.conv('decoder.conv_in', config.latent_channels, widest, 3), ...middle('decoder.mid_block')];
    for (let k = 0; k < channels.length; k++) {
      const path = `decoder.up_blocks.${k}`;
      const size = channels[channels.length - 1 - k];
      for (let j = 0; j <= config.layers_per_block; j++)
        steps.push(resnet(`${path}.resnets.${j}`, j === 0 && k > 0 ? channels[channels.length - k] : size, size));
      if (k < channels.length - 1) steps.push(upsampler(`${path}.upsamplers.0.conv`, size));
    }
    return chain([...steps, ...ending('decoder', channels[0], config.out_channels)]);
  }

  return { encoder, decoder };
}
