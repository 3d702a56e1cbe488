import * as tf from '@tensorflow/tfjs';
import {
  type Context,
  fail,
  type Host,
  type Model,
  type ModuleFacts,
  type Parameter,
  type Problems,
  RANDOM,
  type Random,
  type Tensor,
  type Tensors,
  type Wrap,
} from '../../core/index.js';
import { conv2d, linear } from '../devices/compute/operations.js';

export interface LoraOptions {
  readonly rank?: number;
  /** Scale is alpha / rank (rslora: alpha / sqrt(rank)); the rank by default. */
  readonly alpha?: number;
  /** Modules to adapt: the end of a path ("to_q", "ff.net.2"), or a pattern for the whole path. */
  readonly targets?: readonly (string | RegExp)[];
  /** Only modules below this part of the model. */
  readonly below?: string;
  readonly dropout?: number;
  /** How A starts; B starts at 0. */
  readonly start?: 'gaussian' | 'kaiming';
  readonly rslora?: boolean;
}

/** What diffusers' script adapts. */
export const ATTENTION_TARGETS = ['to_k', 'to_q', 'to_v', 'to_out.0'] as const;

/** What a rank, an alpha and the rslora switch make of the scale. */
export const loraScale = (rank: number, alpha: number, rslora: boolean): number => alpha / (rslora ? Math.sqrt(rank) : rank);

/** Where a module's two matrices stand among a model's parameters. */
export const loraPaths = (module: string) => ({ a: `${module}.lora_A.weight`, b: `${module}.lora_B.weight` });

/** The modules that `targets` name. A target that names none is told to `unmatched`. */
export function matchModules(
  modules: ReadonlyMap<string, ModuleFacts>,
  targets: readonly (string | RegExp)[],
  below: string,
  unmatched: (target: string | RegExp) => void,
): string[] {
  const candidates = [...modules.keys()].filter((path) => path.startsWith(below));
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

/**
 * LoRA (Hu et al. 2021) as peft has it: y = base(x) + B(A(dropout(x))) scale, on linear and convolution modules. The
 * model's own weights are frozen: they get no gradient and no optimizer state.
 */
export const lora = (options: LoraOptions = {}) => {
  const { rank = 4, targets = ATTENTION_TARGETS, below = 'unet.', dropout = 0, start = 'gaussian', rslora = false } = options;
  const alpha = options.alpha ?? rank;
  return {
    name: 'lora',
    rank,
    alpha,
    rslora,
    scale: loraScale(rank, alpha, rslora),
    apply({ hooks, resolve }: Host) {
      hooks.validate.tap((problems) => {
        const bad = (what: string, fix: string) => problems.add('OPTION_INVALID', 'lora', what, fix);
        if (!(Number.isInteger(rank) && rank >= 1)) bad(`rank is ${rank}`, 'Give a whole number, at least 1.');
        if (!(alpha > 0)) bad(`alpha is ${alpha}`, 'Give a number above 0.');
        if (!(dropout >= 0 && dropout < 1)) bad(`dropout is ${dropout}`, 'Give a number from 0 up to, not including, 1.');
        if (targets.length === 0) bad('there are no targets', 'Name at least one module.');
      });
      hooks.prepareModel.tap((model, problems) => adapt(model, problems, resolve(RANDOM)));
    },
  };

  function adapt(model: Model, problems: Problems, random: Random): Model {
    const found = matchModules(model.modules, targets, below, (target) =>
      problems.add(
        'TARGET_UNMATCHED',
        'lora',
        `no module below "${below}" matches ${target}`,
        `Targets are the ends of paths such as ${[...model.modules.keys()]
          .filter((p) => p.startsWith(below))
          .slice(0, 3)
          .join(', ')}.`,
      ),
    );
    const modules = found.map((path) => {
      const facts = model.modules.get(path) as ModuleFacts;
      const { group } = model.parameters.get(facts.weight) as Parameter;
      const [size, out] = facts.shape.slice(-2);
      const fanIn = facts.shape.slice(0, -1).reduce((x, y) => x * y, 1);
      const shapeA = facts.kind === 'linear' ? [size, rank] : [...facts.shape.slice(0, 3), rank];
      const values = new Float32Array(fanIn * rank);
      const draws = random.named(`start:${loraPaths(path).a}`);
      if (start === 'gaussian') values.set(draws.normals(values).map((x) => x / rank));
      else draws.uniforms(values, -1 / Math.sqrt(fanIn), 1 / Math.sqrt(fanIn));
      return { path, facts, group, a: tf.tensor(values, shapeA), b: tf.zeros(facts.kind === 'linear' ? [rank, out] : [1, 1, rank, out]) };
    });
    return withLora(model, modules, loraScale(rank, alpha, rslora), dropout);
  }
};

/** One adapted module: A [in, r] or [kh, kw, in, r], B [r, out] or [1, 1, r, out]; both are taken over. */
export interface LoraModule {
  readonly path: string;
  readonly facts: ModuleFacts;
  readonly group: string;
  readonly a: Tensor;
  readonly b: Tensor;
}

/** A model with adapters: the same weights, frozen, and the adapters' own, trained. */
export function withLora<M extends Model>(model: M, modules: readonly LoraModule[], scale: number, dropout = 0): M {
  const parameters = new Map<string, Parameter>([...model.parameters].map(([path, p]) => [path, { ...p, trainable: false }]));
  const wraps = new Map(model.wraps);
  for (const { path, facts, group, a, b } of modules) {
    const paths = loraPaths(path);
    for (const [name, value] of [
      [paths.a, a],
      [paths.b, b],
    ] as const) {
      parameters.set(name, { variable: tf.variable(value as tf.Tensor<tf.Rank>), trainable: true, group });
      value.dispose();
    }
    wraps.set(path, [...(wraps.get(path) ?? []), branch(path, facts, scale, dropout)]);
  }
  return { ...model, parameters, wraps };
}

function branch(path: string, facts: ModuleFacts, scale: number, dropout: number): Wrap {
  const { a, b } = loraPaths(path);
  return (context, inputs, next) => {
    const x = dropout > 0 && context.mode === 'train' ? dropped(context, inputs[0], path, dropout) : inputs[0];
    const [A, B] = [context.parameters[a], context.parameters[b]];
    const down = facts.kind === 'linear' ? linear(x, A) : conv2d(x, A, undefined, facts.stride ?? 1, facts.padding ?? 0);
    const scaled = scale === 1 ? down : down.mul(scale);
    const up = facts.kind === 'linear' ? linear(scaled, B) : conv2d(scaled, B, undefined, 1, 0);
    return next(inputs).add(up);
  };
}

/** Inverted dropout whose mask belongs to step, microBatch and layer. */
function dropped(context: Context, x: Tensor, path: string, rate: number): Tensor {
  const draws = context.drawHere(`dropout:${path}`);
  const mask = new Float32Array(x.size);
  for (let i = 0; i < mask.length; i++) mask[i] = draws.uniform() < rate ? 0 : 1 / (1 - rate);
  return x.mul(tf.tensor(mask, x.shape));
}

/** What an adapter adds to its module's weight: scale A B, for k x k the composed convolution. */
const delta = (facts: ModuleFacts, a: Tensor, b: Tensor, scale: number): Tensor =>
  tf.tidy(() => {
    const rank = a.shape[a.rank - 1];
    return tf
      .matMul(a.reshape([-1, rank]) as tf.Tensor2D, b.reshape([rank, -1]) as tf.Tensor2D)
      .mul(scale)
      .reshape([...facts.shape]);
  });

/**
 * Adds (sign 1) or takes away (sign -1) adapters in the model's own weights, in place. A result that is not finite is
 * refused before any weight has changed.
 */
export async function mergeLora(
  model: Model,
  modules: readonly { path: string; a: Tensor; b: Tensor }[],
  scale: number,
  sign: 1 | -1 = 1,
): Promise<void> {
  const merged: [tf.Variable, Tensor][] = [];
  try {
    for (const { path, a, b } of modules) {
      const facts =
        model.modules.get(path) ??
        fail('LORA_MISMATCH', 'lora', `the model has no module ${path}`, 'Use the adapter with the model it was trained on.');
      const { variable } = model.parameters.get(facts.weight) as Parameter;
      const value = tf.tidy(() => variable.add(delta(facts, a, b, sign * scale)));
      merged.push([variable, value]);
      const finite = tf.tidy(() => value.sub(value).abs().max());
      const ok = (await finite.data())[0] === 0;
      finite.dispose();
      if (!ok)
        fail(
          'LORA_NOT_FINITE',
          'lora',
          `merging into ${facts.weight} gives values that are not finite`,
          'The adapter is broken: train it again with a lower learning rate.',
        );
    }
    for (const [variable, value] of merged) variable.assign(value as tf.Tensor<tf.Rank>);
  } finally {
    for (const [, value] of merged) value.dispose();
  }
}

/** The adapters of a model that has some, by module; lent. */
export function loraModules(model: Model, weights: Tensors): { path: string; facts: ModuleFacts; a: Tensor; b: Tensor }[] {
  return [...model.modules].flatMap(([path, facts]) => {
    const { a, b } = loraPaths(path);
    return a in weights && b in weights ? [{ path, facts, a: weights[a], b: weights[b] }] : [];
  });
}
