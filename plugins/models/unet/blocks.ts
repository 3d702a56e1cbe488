import type { Context, Tensor } from '../../../core/index.js';
import { geglu } from '../../devices/compute/activations.js';
import { attention } from '../../devices/compute/attention.js';
import type { Apply, Builder } from '../layers/builder.js';
import { type Resnet, resnetBlock } from '../layers/resnet.js';
import type { ParsedUNetConfig } from './config.js';

/** Attention of every pixel to all pixels and to the text's states. */
export type Transformer2D = (context: Context, x: Tensor, text: Tensor) => Tensor;

/** Attention of x to other states, to which `rest` is added. */
type Attend = (context: Context, x: Tensor, states: Tensor, rest: Tensor) => Tensor;

/** The blocks that a UNet2DConditionModel is made of; each notes its weights in `build`. `embedded` is the width of the embedding. */
export function unetBlocks(build: Builder, config: ParsedUNetConfig, embedded: number) {
  const groups = config.norm_num_groups;

  /** From `size` channels to `out`; what comes out is divided by `divisor`. */
  const resnet = (path: string, size: number, out: number, divisor: number): Resnet =>
    resnetBlock(build, path, size, out, { groups, epsilon: config.norm_eps, divisor, embedded });

  function attend(path: string, size: number, from: number, heads: number): Attend {
    const [q, k, v] = [
      ['to_q', size],
      ['to_k', from],
      ['to_v', from],
    ].map(([name, width]) => build.linear(`${path}.${name}`, width as number, size, false));
    const out = build.linear(`${path}.to_out.0`, size, size);
    return (context, x, states, rest) => out(context, attention(q(context, x), k(context, states), v(context, states), heads), rest);
  }

  function transformerBlock(path: string, size: number, heads: number, from: number): Transformer2D {
    const norms = [1, 2, 3].map((n) => build.layerNorm(`${path}.norm${n}`, size, 1e-5));
    const self = attend(`${path}.attn1`, size, size, heads);
    const cross = attend(`${path}.attn2`, size, from, heads);
    const up = build.linear(`${path}.ff.net.0.proj`, size, size * 8);
    const down = build.linear(`${path}.ff.net.2`, size * 4, size);
    return build.block(path, (context: Context, x: Tensor, text: Tensor) => {
      const normed = norms[0](context, x);
      const a = self(context, normed, normed, x);
      const b = cross(context, norms[1](context, a), text, a);
      return down(context, geglu(up(context, norms[2](context, b))), b);
    });
  }

  /** `layers` blocks on `size` channels, with text states of `from` numbers each. */
  function transformer(path: string, size: number, heads: number, layers: number, from: number): Transformer2D {
    const norm = build.groupNorm(`${path}.norm`, size, groups, 1e-6, false);
    const linear = config.use_linear_projection;
    const projection = (name: string): Apply =>
      linear ? build.linear(`${path}.${name}`, size, size) : build.conv(`${path}.${name}`, size, size, 1);
    const projIn = projection('proj_in');
    const blocks = Array.from({ length: layers }, (_, i) => transformerBlock(`${path}.transformer_blocks.${i}`, size, heads, from));
    const projOut = projection('proj_out');
    return (context, x, text) => {
      const [n, h, w, c] = x.shape;
      const tokens = [n, h * w, c];
      const normed = norm(context, x);
      let y = linear ? projIn(context, normed.reshape(tokens)) : projIn(context, normed).reshape(tokens);
      for (const block of blocks) y = block(context, y, text);
      return linear ? projOut(context, y, x.reshape(tokens)).reshape(x.shape) : projOut(context, y.reshape(x.shape), x);
    };
  }

  return { resnet, transformer };
}
