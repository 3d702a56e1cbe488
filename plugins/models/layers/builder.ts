import type { Context, ModuleFacts, RandomGenerator, Tensor } from '../../../core/index.js';
import { conv2d, doubledConv2d, upsample2x } from '../../devices/compute/convolution.js';
import { dense } from '../../devices/compute/dense.js';
import { groupNorm, layerNorm } from '../../devices/compute/norms.js';
import type { Laid, Layout } from '../../persist/formats/pytorch-layout.js';

/** One weight of a model: its path, its shape here (linear [in, out], conv [h, w, in, out]), and how it starts. */
export interface WeightSpec extends Laid {
  readonly path: string;
  readonly start: (generator: RandomGenerator, out: Float32Array) => Float32Array;
}

/** Computes a layer; `rest` is added to what it gives, in the same pass where the device can. */
export type Apply = (context: Context, x: Tensor, rest?: Tensor) => Tensor;

const ones: WeightSpec['start'] = (_, out) => out.fill(1);
export const zeros: WeightSpec['start'] = (_, out) => out.fill(0);
export const normal =
  (std: number): WeightSpec['start'] =>
  (generator, out) =>
    generator.normals(out).map((x) => x * std);
/** PyTorch's start of linear and convolution layers: uniform within 1 / sqrt(fan in). */
const fanIn =
  (size: number): WeightSpec['start'] =>
  (generator, out) =>
    generator.uniforms(out, -1 / Math.sqrt(size), 1 / Math.sqrt(size));

/** Collects a model's weights and modules while it is put together. Paths are PyTorch's, below `prefix`. */
export class Builder {
  readonly specs: WeightSpec[] = [];
  readonly modules = new Map<string, ModuleFacts>();
  /** The paths of larger parts that may be computed twice. */
  readonly blocks = new Set<string>();
  /** The paths of parts whose operations depend on the shapes of their inputs alone. */
  readonly graphs = new Set<string>();
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  weight(path: string, shape: readonly number[], layout: Layout, start: WeightSpec['start']): string {
    const full = this.prefix + path;
    this.specs.push({ path: full, shape, layout, start });
    return full;
  }

  linear(path: string, size: number, out: number, bias = true): Apply {
    const full = this.prefix + path;
    const w = this.weight(`${path}.weight`, [size, out], 'linear', fanIn(size));
    const b = bias ? this.weight(`${path}.bias`, [out], 'plain', fanIn(size)) : '';
    this.modules.set(full, { kind: 'linear', weight: w, bias: bias ? b : null, shape: [size, out] });
    return (context, x, rest) =>
      context.module(
        full,
        [x],
        ([input, added]) => dense(input, context.parameters[w], { bias: context.parameters[b], rest: added }),
        rest,
      );
  }

  conv(path: string, size: number, out: number, kernel: number, stride = 1, padding = (kernel - 1) / 2): Apply {
    const full = this.prefix + path;
    const fan = size * kernel * kernel;
    const w = this.weight(`${path}.weight`, [kernel, kernel, size, out], 'conv', fanIn(fan));
    const b = this.weight(`${path}.bias`, [out], 'plain', fanIn(fan));
    this.modules.set(full, { kind: 'conv2d', weight: w, shape: [kernel, kernel, size, out], stride, padding });
    return (context, x, rest) =>
      context.module(
        full,
        [x],
        ([input, added]) => conv2d(input, context.parameters[w], { stride, pad: padding, bias: context.parameters[b], rest: added }),
        rest,
      );
  }

  /**
   * A convolution of 3 x 3 of pixels that are doubled in both directions before it. Where a height and width are named that are odd, doubling gives one row or column
   * too many; nearest-neighbour interpolation to that size, which diffusers does, is the same as leaving it out.
   */
  doubledConv(path: string, size: number, out: number): (context: Context, x: Tensor, shape?: readonly (number | undefined)[]) => Tensor {
    const conv = this.conv(path, size, out, 3);
    const full = this.prefix + path;
    return (context, x, shape) => {
      const [, h, w] = x.shape as number[];
      const [height = 2 * h, width = 2 * w] = shape ?? [];
      const fits = height === 2 * h && width === 2 * w;
      // What wraps a module is given what it convolves.
      if (fits && !context.wrapped(full))
        return doubledConv2d(x, context.parameters[`${full}.weight`], { bias: context.parameters[`${full}.bias`] });
      const doubled = upsample2x(x);
      return conv(context, fits ? doubled : doubled.slice([0, 0, 0, 0], [-1, height, width, -1]));
    };
  }

  /** A part that is called as one module. What it is given is all that it uses, beside its weights. */
  block<T extends readonly Tensor[]>(
    path: string,
    compute: (context: Context, ...inputs: T) => Tensor,
  ): (context: Context, ...inputs: T) => Tensor {
    this.blocks.add(this.prefix + path);
    return this.part(this.prefix + path, compute);
  }

  /** All that this builder is of, or what stands below a path of it, called as one module: it depends on tensors alone, its inputs and weights. */
  graph<T extends readonly Tensor[]>(
    compute: (context: Context, ...inputs: T) => Tensor,
    below?: string,
  ): (context: Context, ...inputs: T) => Tensor {
    const path = below === undefined ? this.prefix.replace(/\.$/, '') : this.prefix + below;
    this.graphs.add(path);
    return this.part(path, compute);
  }

  private part<T extends readonly Tensor[]>(path: string, compute: (context: Context, ...inputs: T) => Tensor): typeof compute {
    return (context, ...inputs) => context.module(path, [...inputs], (given) => compute(context, ...(given as readonly Tensor[] as T)));
  }

  groupNorm(path: string, size: number, groups: number, epsilon: number, activate: boolean): Apply {
    const w = this.weight(`${path}.weight`, [size], 'plain', ones);
    const b = this.weight(`${path}.bias`, [size], 'plain', zeros);
    return (context, x) => groupNorm(x, context.parameters[w], context.parameters[b], groups, epsilon, activate);
  }

  layerNorm(path: string, size: number, epsilon: number): Apply {
    const w = this.weight(`${path}.weight`, [size], 'plain', ones);
    const b = this.weight(`${path}.bias`, [size], 'plain', zeros);
    return (context, x) => layerNorm(x, context.parameters[w], context.parameters[b], epsilon);
  }
}
