import type { Model } from '../../../core/index.js';

/** What a classifier's outputs are. */
export type Outputs = 'probabilities' | 'logits';

/** A model that says what its outputs are. */
export interface Classifier extends Model {
  readonly outputs: Outputs;
}

/** What a model says of its outputs; logits where it says nothing. */
export const outputsOf = (model: Model): Outputs => (model as Partial<Classifier>).outputs ?? 'logits';
