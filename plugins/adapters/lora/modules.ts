import * as tf from '@tensorflow/tfjs';
import type { Model, ModuleFacts, Parameter, Tensor, Tensors, Wrap } from '../../../core/index.js';
import { conv2d } from '../../devices/compute/convolution.js';
import { dense } from '../../devices/compute/dense.js';
import { dropout as dropped } from '../../models/layers/dropout.js';

/** Where a module's two matrices stand among a model's parameters. */
export const loraPaths = (module: string) => ({ a: `${module}.lora_A.weight`, b: `${module}.lora_B.weight` });

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
    const hits = candidates.filter((path) =>
      typeof target === 'string' ? path === target || path.endsWith(`.${target}`) : target.test(path),
    );
    if (hits.length === 0) unmatched(target);
    for (const path of hits) found.add(path);
  }
  return candidates.filter((path) => found.has(path));
}

/** One adapted module: A [in, r] or [kh, kw, in, r], B [r, out] or [1, 1, r, out]; both are taken over. */
export interface LoraModule {
  readonly path: string;
  readonly facts: ModuleFacts;
  readonly group: string;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
}

/** A model with adapters: the same weights, frozen, and the adapters' matrices, trained. */
export function withLora<M extends Model>(model: M, modules: readonly LoraModule[], dropout = 0): M {
  const parameters = new Map<string, Parameter>([...model.parameters].map(([path, p]) => [path, { ...p, trainable: false }]));
  const wraps = new Map(model.wraps);
  for (const { path, facts, group, a, b, scale } of modules) {
    const paths = loraPaths(path);
    for (const [name, value] of [
      [paths.a, a],
      [paths.b, b],
    ] as const) {
      parameters.set(name, { variable: tf.variable(value as tf.Tensor<tf.Rank>), trainable: true, group });
      value.dispose();
    }
    const inner = wraps.get(path) ?? [];
    // Over other wraps, it is not known what the module computes.
    const fits = facts.kind === 'linear' && facts.bias !== undefined && inner.length === 0;
    wraps.set(path, [...inner, (fits ? together : branch)(path, facts, scale, dropout)]);
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

/** Beside it. */
function branch(path: string, facts: ModuleFacts, scale: number, dropout: number): Wrap {
  const { a, b } = loraPaths(path);
  return (context, inputs, next) => {
    const x = dropout > 0 && context.mode === 'train' ? dropped(context, path, inputs[0], dropout) : inputs[0];
    const [A, B] = [context.parameters[a], context.parameters[b]];
    const down = facts.kind === 'linear' ? dense(x, A) : conv2d(x, A, { stride: facts.stride ?? 1, pad: facts.padding ?? 0 });
    const scaled = scale === 1 ? down : down.mul(scale);
    const up = facts.kind === 'linear' ? dense(scaled, B) : conv2d(scaled, B, { stride: 1, pad: 0 });
    return next(inputs).add(up);
  };
}

/** The adapters of a model that has some, by module; borrowed. */
export function loraModules(model: Model, weights: Tensors): { path: string; facts: ModuleFacts; a: Tensor; b: Tensor }[] {
  return [...model.modules].flatMap(([path, facts]) => {
    const { a, b } = loraPaths(path);
    return a in weights && b in weights ? [{ path, facts, a: weights[a], b: weights[b] }] : [];
  });
}
