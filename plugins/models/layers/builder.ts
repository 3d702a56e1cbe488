import * as tf from '@tensorflow/tfjs';
import {
  type Context,
  fail,
  type Generator,
  type ModuleFacts,
  type Parameter,
  type Random,
  type Tensor,
  type TensorData,
} from '../../../core/index.js';
import { conv2d, groupNorm, layerNorm, linear } from '../../devices/compute/operations.js';

/** How a weight lies in PyTorch's files: linear [out, in], conv [out, in, h, w], plain as it is here. */
export type Layout = 'linear' | 'conv' | 'plain';

/** One weight of a model: its path, its shape here (linear [in, out], conv [h, w, in, out]), and how it starts. */
export interface WeightSpec {
  readonly path: string;
  readonly shape: readonly number[];
  readonly layout: Layout;
  readonly start: (generator: Generator, out: Float32Array) => Float32Array;
}

export type Apply = (context: Context, x: Tensor) => Tensor;

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
    this.modules.set(full, { kind: 'linear', weight: w, shape: [size, out] });
    return (context, x) => context.module(full, [x], ([input]) => linear(input, context.parameters[w], context.parameters[b]));
  }

  conv(path: string, size: number, out: number, kernel: number, stride = 1, padding = (kernel - 1) / 2): Apply {
    const full = this.prefix + path;
    const fan = size * kernel * kernel;
    const w = this.weight(`${path}.weight`, [kernel, kernel, size, out], 'conv', fanIn(fan));
    const b = this.weight(`${path}.bias`, [out], 'plain', fanIn(fan));
    this.modules.set(full, { kind: 'conv2d', weight: w, shape: [kernel, kernel, size, out], stride, padding });
    return (context, x) =>
      context.module(full, [x], ([input]) => conv2d(input, context.parameters[w], context.parameters[b], stride, padding));
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

/** The shape a weight has in PyTorch's files. */
export function fileShape({ shape, layout }: Pick<WeightSpec, 'shape' | 'layout'>): number[] {
  if (layout === 'linear') return [shape[1], shape[0]];
  if (layout === 'conv') return [shape[3], shape[2], shape[0], shape[1]];
  return [...shape];
}

/** Turns a weight from PyTorch's layout to ours. */
export function fromFile(data: Float32Array, { shape, layout }: Pick<WeightSpec, 'shape' | 'layout'>): Float32Array {
  if (layout === 'plain') return data;
  const [kh, kw, size, out] = layout === 'linear' ? [1, 1, shape[0], shape[1]] : shape;
  const result = new Float32Array(data.length);
  for (let o = 0; o < out; o++)
    for (let i = 0; i < size; i++) for (let k = 0; k < kh * kw; k++) result[(k * size + i) * out + o] = data[(o * size + i) * kh * kw + k];
  return result;
}

/** Turns a weight from our layout to PyTorch's. */
export function toFile(data: Float32Array, { shape, layout }: Pick<WeightSpec, 'shape' | 'layout'>): Float32Array {
  if (layout === 'plain') return data;
  const [kh, kw, size, out] = layout === 'linear' ? [1, 1, shape[0], shape[1]] : shape;
  const result = new Float32Array(data.length);
  for (let o = 0; o < out; o++)
    for (let i = 0; i < size; i++) for (let k = 0; k < kh * kw; k++) result[(o * size + i) * kh * kw + k] = data[(k * size + i) * out + o];
  return result;
}

/**
 * Makes a model's variables: from a file's tensors (strictly: missing, unexpected and wrongly shaped ones are all named)
 * or, without any, freshly from the seed. `where` names the file in errors.
 */
export function makeParameters(
  specs: readonly WeightSpec[],
  more: { trainable: boolean; group: string; random: Random; tensors?: ReadonlyMap<string, TensorData>; where?: string },
): Map<string, Parameter> {
  const { tensors, where = 'the weights' } = more;
  if (tensors) {
    const wrong: string[] = [];
    for (const spec of specs) {
      const found = tensors.get(spec.path);
      if (!found) wrong.push(`${spec.path} is missing`);
      else if (String(found.shape) !== String(fileShape(spec)))
        wrong.push(`${spec.path} is [${found.shape}], expected [${fileShape(spec)}]`);
    }
    const known = new Set(specs.map((s) => s.path));
    for (const name of tensors.keys()) if (!known.has(name)) wrong.push(`${name} is unexpected`);
    if (wrong.length > 0)
      fail(
        'WEIGHTS_MISMATCH',
        'model',
        `${where} does not fit its config.json: ${wrong.slice(0, 6).join('; ')}${wrong.length > 6 ? `; and ${wrong.length - 6} more` : ''}`,
        'Use the config.json and weights of one model.',
      );
  }
  const parameters = new Map<string, Parameter>();
  for (const spec of specs) {
    const size = spec.shape.reduce((a, b) => a * b, 1);
    const data = tensors
      ? fromFile((tensors.get(spec.path) as TensorData).data as Float32Array, spec)
      : spec.start(more.random.named(`start:${spec.path}`), new Float32Array(size));
    const value = tf.tensor(data, spec.shape as number[], 'float32');
    // Variables are anonymous: a second one of a name would throw, and paths are the only names here.
    const variable = tf.variable(value as tf.Tensor<tf.Rank>, more.trainable);
    value.dispose();
    parameters.set(spec.path, { variable, trainable: more.trainable, group: more.group });
  }
  return parameters;
}
