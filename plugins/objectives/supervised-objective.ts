import { type Batch, type Context, type Host, type Model, OBJECTIVE } from '../../core/index.js';
import type { Scalar } from '../../core/tf.js';
import { type Outputs, outputsOf } from '../models/layers/outputs.js';
import { type Comparison, LOSSES, type LossName, type LossOptions, lossByName } from './losses/losses.js';
import { predict } from './losses/predict.js';

export interface SupervisedObjectiveOptions extends LossOptions {
  /** Its name (cross-entropy, mse, ...), or a function of prediction and target that gives a value for each example. */
  readonly loss: LossName | Comparison;
  /** Whether a classifier's outputs are probabilities or logits; by default what the model says of itself, else logits. */
  readonly outputs?: Outputs;
}

/**
 * Supervised learning: the mean over a batch's examples of a loss between the model's output and the column `y`. Every other
 * column is an input of the model. Cross-entropy takes labels (whole numbers) or one-hot rows.
 */
export const supervisedObjective = (options: SupervisedObjectiveOptions) => {
  const { loss, labelSmoothing = 0, delta = 1 } = options;
  const compare = typeof loss === 'function' ? loss : lossByName(loss, options);
  return {
    name: 'supervised-objective',
    fills: OBJECTIVE,
    apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        const check = problems.options('supervised-objective');
        if (typeof loss === 'string' && !LOSSES.includes(loss))
          check.invalid(`there is no loss "${loss}"`, `There are: ${LOSSES.join(', ')}; or give a function.`);
        check.share('labelSmoothing', labelSmoothing);
        check.positive('delta', delta);
      });
    },
    settings: () => ({ loss: typeof loss === 'string' ? loss : 'a function', labelSmoothing, delta }),
    loss(context: Context, model: Model, batch: Batch): Scalar {
      const { predicted, target } = predict(context, model, batch);
      const outputs = options.outputs ?? outputsOf(model);
      const values = compare(predicted, target, outputs);
      return values.mean() as Scalar;
    },
  };
};
