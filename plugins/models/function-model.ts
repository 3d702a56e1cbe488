import { type Context, fail, type Inputs, MODEL, type ModuleFacts, type Tensors } from '../../core/index.js';
import type { Tensor, Variable } from '../../core/tf.js';
import type { Classifier, Outputs } from './layers/outputs.js';

export interface FunctionModelOptions {
  /** Names of variables that are not trained. */
  readonly frozen?: readonly string[];
  /** Modules that adapters may wrap; the function calls each through `context.module(path, inputs, fn)`. */
  readonly modules?: Readonly<Record<string, ModuleFacts>>;
  /** Larger parts that the function calls in the same way, and that use nothing but their inputs and weights: gradient checkpointing computes them twice. */
  readonly blocks?: readonly string[];
  /** Whether a classifier's outputs are probabilities; logits otherwise. */
  readonly outputs?: Outputs;
}

/**
 * Any function with named variables as a model. It reads its weights from `parameters`, never from the variables themselves
 * (an evaluation may pass averages); the variables stay the caller's.
 */
export const functionModel = (
  variables: Readonly<Record<string, Variable>>,
  fn: (parameters: Tensors, inputs: Inputs, context: Context) => Tensor,
  { frozen = [], modules = {}, blocks = [], outputs = 'logits' }: FunctionModelOptions = {},
) => ({
  name: 'function-model',
  fills: MODEL,
  async build(): Promise<Classifier> {
    for (const name of frozen)
      if (!(name in variables))
        fail(
          'PATTERN_UNMATCHED',
          'function-model',
          `there is no variable ${name} to freeze`,
          `There are: ${Object.keys(variables).join(', ')}.`,
        );
    return {
      parameters: new Map(
        Object.entries(variables).map(([name, variable]) => [
          name,
          { variable, trainable: !frozen.includes(name), group: 'default', borrowed: true },
        ]),
      ),
      modules: new Map(Object.entries(modules)),
      wraps: new Map(),
      blocks: new Set(blocks),
      outputs,
      forward: (context, inputs) => fn(context.parameters, inputs, context),
    };
  },
});
