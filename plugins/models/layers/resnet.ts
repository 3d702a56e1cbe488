import type { Context, Tensor } from '../../../core/index.js';
import { addToPixels } from '../../devices/compute/dense.js';
import type { Builder } from './builder.js';

/** Convolutions around a skip connection; told the timestep's embedding where there is one. */
export type Resnet = (context: Context, x: Tensor, temb?: Tensor) => Tensor;

export interface ResnetOptions {
  /** Groups and epsilon of its norms. */
  readonly groups: number;
  readonly epsilon: number;
  /** What comes out is divided by it; 1 if left out. */
  readonly divisor?: number;
  /** The width of the timestep's embedding, in a network that has one. */
  readonly embedded?: number;
}

/** diffusers' ResnetBlock2D, from `size` channels to `out`; notes its weights in `build`. */
export function resnetBlock(build: Builder, path: string, size: number, out: number, options: ResnetOptions): Resnet {
  const { groups, epsilon, divisor = 1, embedded } = options;
  const norm1 = build.groupNorm(`${path}.norm1`, size, groups, epsilon, true);
  const conv1 = build.conv(`${path}.conv1`, size, out, 3);
  const project = embedded === undefined ? null : build.linear(`${path}.time_emb_proj`, embedded, out);
  const norm2 = build.groupNorm(`${path}.norm2`, out, groups, epsilon, true);
  const conv2 = build.conv(`${path}.conv2`, out, out, 3);
  const shortcut = size === out ? null : build.conv(`${path}.conv_shortcut`, size, out, 1);
  const compute: Resnet = (context, x, temb) => {
    let h = conv1(context, norm1(context, x));
    if (project) h = addToPixels(h, project(context, temb as Tensor));
    const sum = conv2(context, norm2(context, h), shortcut ? shortcut(context, x) : x);
    return divisor === 1 ? sum : sum.div(divisor);
  };
  return build.block(path, compute as (context: Context, ...inputs: [Tensor, Tensor]) => Tensor) as Resnet;
}
