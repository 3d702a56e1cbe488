import { fail, type Model, type Parameter, type Tensor } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { inFull } from '../../devices/compute/half.js';
import { adaptedWeight, lengths } from './modules.js';

/** What is merged: a module's matrices, as the model has them, the scale of their product, and with DoRA its magnitudes. */
export interface MergedModule {
  readonly path: string;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
  readonly magnitude?: Tensor;
  /** How much of the difference that the adapter makes is merged; all of it by default. */
  readonly share?: number;
}

/** A module's weight with scale A B added, and brought to its magnitudes if there are some. */
const merged = (variable: tf.Variable, { a, b, scale, magnitude, share = 1 }: MergedModule, sign: 1 | -1): Tensor =>
  tf.tidy(() => {
    if (!magnitude) return adaptedWeight(variable, a, b, sign * share * scale);
    const [before, sum] = [inFull(variable), adaptedWeight(variable, a, b, scale)];
    const after = sum.mul(magnitude.divNoNan(lengths(sum)));
    return share === 1 ? after : before.add(after.sub(before).mul(share));
  });

/**
 * Adds (sign 1) or takes away (sign -1) adapters in the model's weights, in place; of DoRA, whose weights do not tell what they were, the latter is refused
 * (LORA_MISMATCH). A result that is not finite is refused
 * (LORA_NOT_FINITE) before any weight has changed: each is computed twice, so that no second copy of a large model's weights is held.
 */
export async function mergeLora(model: Model, modules: readonly MergedModule[], sign: 1 | -1 = 1): Promise<void> {
  const targets = modules.map((module) => {
    const facts =
      model.modules.get(module.path) ??
      fail('LORA_MISMATCH', 'lora', `the model has no module ${module.path}`, 'Use the adapter with the model it was trained on.');
    if (sign === -1 && module.magnitude)
      fail('LORA_MISMATCH', 'lora', `${module.path} has magnitudes (DoRA), and cannot be unmerged`, 'Load the model again.');
    return { module, facts, variable: (model.parameters.get(facts.weight) as Parameter).variable };
  });
  for (const { module, facts, variable } of targets) {
    const finite = tf.tidy(() => {
      const value = merged(variable, module, sign);
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
  for (const { module, variable } of targets) {
    const value = merged(variable, module, sign);
    variable.assign(value as tf.Tensor<tf.Rank>);
    value.dispose();
  }
}
