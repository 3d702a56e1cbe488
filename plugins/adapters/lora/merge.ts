import * as tf from '@tensorflow/tfjs';
import { fail, type Model, type ModuleFacts, type Parameter, type Tensor } from '../../../core/index.js';

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
 * Adds (sign 1) or takes away (sign -1) adapters in the model's weights, in place. A result that is not finite is
 * refused before any weight has changed.
 */
export async function mergeLora(
  model: Model,
  modules: readonly { readonly path: string; readonly a: Tensor; readonly b: Tensor; readonly scale: number }[],
  sign: 1 | -1 = 1,
): Promise<void> {
  const merged: [tf.Variable, Tensor][] = [];
  try {
    for (const { path, a, b, scale } of modules) {
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
