import {
  type Model,
  type ModuleFacts,
  type Parameter,
  type Tensor,
  type Tensors,
  type Wrap,
  withoutGradient,
} from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { conv2d } from '../../devices/compute/convolution.js';
import { dense } from '../../devices/compute/dense.js';
import { inFull } from '../../devices/compute/half.js';
import { dropout as dropped } from '../../models/layers/dropout.js';
import { endsWith } from '../../persist/formats/lora/matrices.js';

/** Where a module's two matrices, and its magnitudes with DoRA, stand among a model's parameters. */
export const loraPaths = (module: string) => ({
  a: `${module}.lora_A.weight`,
  b: `${module}.lora_B.weight`,
  magnitude: `${module}.lora_magnitude_vector`,
});

/** The modules that `targets` name and that can be trained. A target that names none is told to `unmatched`. */
export function matchModules(
  modules: ReadonlyMap<string, ModuleFacts>,
  targets: readonly (string | RegExp)[],
  below: string,
  unmatched: (target: string | RegExp) => void,
): string[] {
  const candidates = [...modules].flatMap(([path, { unused }]) => (path.startsWith(below) && !unused ? [path] : []));
  const found = new Set<string>();
  for (const target of targets) {
    const hits = candidates.filter((path) => (typeof target === 'string' ? endsWith(path, target) : target.test(path)));
    if (hits.length === 0) unmatched(target);
    for (const path of hits) found.add(path);
  }
  return candidates.filter((path) => found.has(path));
}

/** One adapted module: A [in, r] or [kh, kw, in, r], B [r, out] or [1, 1, r, out], with DoRA magnitudes [out]; all are taken over. */
export interface LoraModule {
  readonly path: string;
  readonly facts: ModuleFacts;
  readonly group: string;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly magnitude?: Tensor;
  readonly scale: number;
}

/** A model with adapters: the same weights, frozen, and the adapters' matrices, trained. */
export function withLora<M extends Model>(model: M, modules: readonly LoraModule[], dropout = 0): M {
  const parameters = new Map<string, Parameter>([...model.parameters].map(([path, p]) => [path, { ...p, trainable: false }]));
  const wraps = new Map(model.wraps);
  for (const { path, facts, group, a, b, magnitude, scale } of modules) {
    const paths = loraPaths(path);
    for (const [name, value] of [[paths.a, a], [paths.b, b], ...(magnitude ? ([[paths.magnitude, magnitude]] as const) : [])] as const) {
      parameters.set(name, { variable: tf.variable(value as tf.Tensor<tf.Rank>), trainable: true, group });
      value.dispose();
    }
    const inner = wraps.get(path) ?? [];
    // Over other wraps, it is not known what the module computes.
    const fits = facts.kind === 'linear' && facts.bias !== undefined && inner.length === 0;
    wraps.set(path, [...inner, (magnitude ? scaledToLength : fits ? together : branch)(path, facts, scale, dropout)]);
  }
  return { ...model, parameters, wraps };
}

/** With the module's own product. */
function together(path: string, facts: ModuleFacts, scale: number, dropout: number): Wrap {
  const { a, b } = loraPaths(path);
  const apart = branch(path, facts, scale, dropout);
  const wrap: Wrap = (context, [x, rest], next) => {
    if (dropout > 0 && context.mode === 'train') {
      const adapted = apart(context, [x], next);
      return rest ? adapted.add(rest) : adapted;
    }
    const { parameters } = context;
    const adapter = { a: parameters[a], b: parameters[b], scale };
    return dense(x, parameters[facts.weight], { bias: parameters[facts.bias ?? ''], rest, adapter });
  };
  return Object.assign(wrap, { handsOnRest: true });
}

/** What a module makes of x with a weight of its kind, without a bias. */
const applied = (x: Tensor, weight: Tensor, facts: ModuleFacts): Tensor =>
  facts.kind === 'linear' ? dense(x, weight) : conv2d(x, weight, { stride: facts.stride ?? 1, pad: facts.padding ?? 0 });

/** scale B A x, and a tensor like it that is added. */
function adapted(x: Tensor, a: Tensor, b: Tensor, facts: ModuleFacts, scale: number, rest?: Tensor): Tensor {
  const down = applied(x, a, facts);
  const scaled = scale === 1 ? down : down.mul(scale);
  return facts.kind === 'linear' ? dense(scaled, b, { rest }) : conv2d(scaled, b, { stride: 1, pad: 0, rest });
}

/** Beside it. */
function branch(path: string, facts: ModuleFacts, scale: number, dropout: number): Wrap {
  const { a, b } = loraPaths(path);
  return (context, inputs, next) => {
    const x = dropout > 0 && context.mode === 'train' ? dropped(context, path, inputs[0], dropout) : inputs[0];
    return adapted(x, context.parameters[a], context.parameters[b], facts, scale, next(inputs));
  };
}

/**
 * DoRA (Liu et al. 2024) as peft has it: with g = m / ||W + scale B A|| for each output, g (W + scale B A) x in place of W x. As the paper's section 4.3 says,
 * the length is a constant on the way back.
 */
function scaledToLength(path: string, facts: ModuleFacts, scale: number, dropout: number): Wrap {
  const paths = loraPaths(path);
  return (context, inputs, next) => {
    const { parameters } = context;
    const [weight, a, b] = [parameters[facts.weight], parameters[paths.a], parameters[paths.b]];
    const x = dropout > 0 && context.mode === 'train' ? dropped(context, path, inputs[0], dropout) : inputs[0];
    const inverse = withoutGradient(() => {
      const length = lengths(adaptedWeight(weight, a, b, scale));
      // What has no length stays 0.
      return tf.onesLike(length).divNoNan(length);
    });
    const gain = parameters[paths.magnitude].mul(inverse);
    return next(inputs)
      .add(applied(x, weight, facts).mul(gain.sub(1)))
      .add(adapted(x, a, b, facts, scale).mul(gain));
  };
}

/** W + scale A B in the shape of W, for k x k the composed convolution. */
export const adaptedWeight = (weight: Tensor, a: Tensor, b: Tensor, scale: number): Tensor => {
  const rank = a.shape[a.rank - 1];
  const product = tf.matMul(a.reshape([-1, rank]) as tf.Tensor2D, b.reshape([rank, -1]) as tf.Tensor2D);
  return inFull(weight).add(product.mul(scale).reshape([...weight.shape]));
};

/** The length of what each output is computed with, [out], of a weight [..., out]. */
export const lengths = (weight: Tensor): Tensor =>
  inFull(weight)
    .reshape([-1, weight.shape[weight.rank - 1]])
    .square()
    .sum(0)
    .sqrt();

/** The adapters of a model that has some, by module; borrowed. */
export function loraModules(
  model: Model,
  weights: Tensors,
): { path: string; facts: ModuleFacts; a: Tensor; b: Tensor; magnitude?: Tensor }[] {
  return [...model.modules].flatMap(([path, facts]) => {
    const { a, b, magnitude } = loraPaths(path);
    if (!(a in weights && b in weights)) return [];
    return [{ path, facts, a: weights[a], b: weights[b], ...(magnitude in weights ? { magnitude: weights[magnitude] } : {}) }];
  });
}
