import * as tf from '@tensorflow/tfjs';
import { fail, type Model, type ModuleFacts, type Parameter, type Tensor } from '../../../core/index.js';
import { inFull } from '../../devices/compute/half.js';

/** What is merged: a module's matrices, as the model has them, and the scale of their product. */
export interface MergedModule {
  readonly path: string;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
}

/** A module's weight with scale A B added, for k x k the composed convolution. */
const merged = (variable: tf.Variable, facts: ModuleFacts, { a, b, scale }: MergedModule, sign: 1 | -1): Tensor =>
  tf.tidy(() => {
    const rank = a.shape[a.rank - 1];
    const product = tf.matMul(a.reshape([-1, rank]) as tf.Tensor2D, b.reshape([rank, -1]) as tf.Tensor2D);
    return inFull(variable).add(product.mul(sign * scale).reshape([...facts.shape]));
  });

/**
 * Adds (sign 1) or takes away (sign -1) adapters in the model's weights, in place. A result that is not finite is refused
 * (LORA_NOT_FINITE) before any weight has changed: each is computed twice, so that no second copy of a large model's weights is held.
 */
export async function mergeLora(model: Model, modules: readonly MergedModule[], sign: 1 | -1 = 1): Promise<void> {
  const targets = modules.map((module) => {
    const facts =
      model.modules.get(module.path) ??
      fail('LORA_MISMATCH', 'lora', `the model has no module ${module.path}`, 'Use the adapter with the model it was trained on.');
    return { module, facts, variable: (model.parameters.get(facts.weight) as Parameter).variable };
  });
  for (const { module, facts, variable } of targets) {
    const finite = tf.tidy(() => {
      const value = merged(variable, facts, module, sign);
      return value.sub(value).abs().max();
    });
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
  for (const { module, facts, variable } of targets) {
    const value = merged(variable, facts, module, sign);
    variable.assign(value as tf.Tensor<tf.Rank>);
    value.dispose();
  }
}
