import { type Batch, type Context, fail, type Model, type Tensor } from '../../../core/index.js';

/** The model's output for a batch, and what it should be. */
export function predict(context: Context, model: Model, { tensors }: Batch): { predicted: Tensor; target: Tensor } {
  const { y, ...inputs } = tensors;
  if (!y)
    fail(
      'DATA_INVALID',
      'supervised-objective',
      `the data has no column y, only ${Object.keys(tensors).join(', ')}`,
      'Name the targets y, and the inputs x or after the model’s inputs.',
    );
  return { predicted: model.forward(context, inputs), target: y };
}
