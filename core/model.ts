import { refuseWhileCaptured } from './captured.js';
import { fail } from './errors.js';
import type { RandomGenerator } from './random.js';
import type { Tensor, Variable } from './tf.js';

/** Tensors by path. */
export type Tensors = Record<string, Tensor>;

/** A weight of a model. `group` names the parameter group whose learning rate and decay apply. */
export interface Parameter {
  readonly variable: Variable;
  readonly trainable: boolean;
  readonly group: string;
  /** Not trained, but changed by every forward pass of training: running statistics. */
  readonly buffer?: boolean;
  /** The variable is somebody else's (a LayersModel's, say): it is trained, and outlives the run. */
  readonly borrowed?: boolean;
}

/**
 * What an adapter may know of a module. `weight` is the path of its weight: a linear one is [in, out], a convolution's
 * [height, width, in, out] (the layouts of TensorFlow.js; files hold PyTorch's and are turned on reading and writing).
 */
export interface ModuleFacts {
  readonly kind: 'linear' | 'conv2d';
  readonly weight: string;
  readonly shape: readonly number[];
  /** The path of its bias, null where it has none: a linear module that says so is x times weight plus bias, and what else it is given added. */
  readonly bias?: string | null;
  readonly stride?: number;
  /** Pixels on every side, or TensorFlow's `same`, which may put one more below and to the right. */
  readonly padding?: number | 'same';
  /** Set where nothing that the model gives depends on the module: a file may hold an adapter of it, but none can be trained. */
  readonly unused?: boolean;
}

/** Wraps one module's call: gets what it would compute as `next`, returns what is used in its place. */
export interface Wrap {
  (context: Context, inputs: Tensor[], next: (inputs: Tensor[]) => Tensor): Tensor;
  /** Set where it hands on, as the last input, what the module is to add to its result. What wraps that do not are not given is added to what comes out of them. */
  readonly handsOnRest?: boolean;
}

/** One forward pass: which weights it reads, in which mode, and where its random draws come from. */
export interface Context {
  readonly mode: 'train' | 'evaluate';
  readonly parameters: Tensors;
  /** Set where a pass is only tried out: nothing is prepared for others like it. */
  readonly trial?: boolean;
  /** Calls the module at `path` through the model's wraps. `fn` is pure in inputs, parameters and keyed draws. */
  /** With `rest`, a tensor like the result, that is added to it: by `fn`, whose last input it is then, in the same pass, or afterwards. */
  module(path: string, inputs: Tensor[], fn: (inputs: Tensor[]) => Tensor, rest?: Tensor): Tensor;
  /** Whether anything wraps the module at `path`; where nothing does, a model may take a shorter way. */
  wrapped(path: string): boolean;
  /** The draw `name` of the example `id`: the same whatever the rank, batch or order. */
  draw(name: string, id: number): RandomGenerator;
  /** The draw `name` of this microBatch (dropout): a function of seed, step, micro and name. */
  drawHere(name: string): RandomGenerator;
}

/** A differentiable model. `forward` takes named tensors (text as strings, numbers as arrays) and returns one tensor. */
export interface Model {
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly modules: ReadonlyMap<string, ModuleFacts>;
  readonly wraps: ReadonlyMap<string, readonly Wrap[]>;
  /** Larger parts that are called as modules, too, and make the same of the same inputs: what gradient checkpointing wraps. None where left out. */
  readonly blocks?: ReadonlySet<string>;
  /** Parts that are called as modules, too, and whose operations depend on the shapes of their inputs alone: what graph capture wraps. None where left out. */
  readonly graphs?: ReadonlySet<string>;
  forward(context: Context, inputs: Inputs): Tensor;
  /** Frees what the model holds beside its parameters. */
  dispose?(): void;
}

export interface Inputs {
  readonly [name: string]: Tensor | readonly string[] | readonly number[] | undefined;
}

/** A module's place in a model's wraps is looked up by path; a model without wraps costs nothing. */
export function makeContext(
  model: Model,
  more: {
    mode: Context['mode'];
    parameters: Tensors;
    draw?: Context['draw'];
    drawHere?: Context['drawHere'];
    trial?: boolean;
  },
): Context {
  const noDraws = (): never => {
    return fail('DRAWS_MISSING', 'core', 'this forward pass was given no random draws', 'Evaluate with a context of host.evaluation().');
  };
  const { draw = noDraws, drawHere = noDraws } = more;
  const context: Context = {
    mode: more.mode,
    parameters: more.parameters,
    ...(more.trial ? { trial: true } : {}),
    draw(name, id) {
      refuseWhileCaptured(`it draws ${name}`);
      return draw(name, id);
    },
    drawHere(name) {
      refuseWhileCaptured(`it draws ${name}`);
      return drawHere(name);
    },
    wrapped: (path) => model.wraps.has(path),
    module(path, inputs, fn, rest) {
      const wraps = model.wraps.get(path) ?? [];
      if (rest && !wraps.every(({ handsOnRest }) => handsOnRest)) return context.module(path, inputs, fn).add(rest);
      let next = fn;
      for (const wrap of wraps) {
        const inner = next;
        next = (given) => wrap(context, given, inner);
      }
      return next(rest ? [...inputs, rest] : inputs);
    },
  };
  return context;
}

/** The weights themselves, by path. */
export function weightsOf(model: Model): Tensors {
  const tensors: Tensors = {};
  for (const [path, { variable }] of model.parameters) tensors[path] = variable;
  return tensors;
}

/** The paths that are trained, in the model's order. */
export const trainablePaths = (model: Model): string[] => [...model.parameters].filter(([, p]) => p.trainable).map(([path]) => path);

export type { Tensor };
