import * as tf from '@tensorflow/tfjs';
import { fail, type Parameter, type Random, type TensorData } from '../../../core/index.js';
import { fileShape, fromFile } from '../../persist/formats/pytorch-layout.js';
import type { WeightSpec } from './builder.js';

/**
 * Makes a model's variables: from a file's tensors (strictly: missing, unexpected and wrongly shaped ones are all named)
 * or, without any, freshly from the seed. `where` names the file in errors.
 */
export function makeParameters(
  specs: readonly WeightSpec[],
  more: { trainable: boolean; group: string; random: Random; tensors?: ReadonlyMap<string, TensorData>; where?: string },
): Map<string, Parameter> {
  const { tensors, where = 'the weights' } = more;
  if (tensors) {
    const wrong: string[] = [];
    for (const spec of specs) {
      const found = tensors.get(spec.path);
      if (!found) wrong.push(`${spec.path} is missing`);
      else if (String(found.shape) !== String(fileShape(spec)))
        wrong.push(`${spec.path} is [${found.shape}], expected [${fileShape(spec)}]`);
    }
    const known = new Set(specs.map((s) => s.path));
    for (const name of tensors.keys()) if (!known.has(name)) wrong.push(`${name} is unexpected`);
    if (wrong.length > 0)
      fail(
        'WEIGHTS_MISMATCH',
        'model',
        `${where} does not fit its config.json: ${wrong.slice(0, 6).join('; ')}${wrong.length > 6 ? `; and ${wrong.length - 6} more` : ''}`,
        'Use the config.json and weights of one model.',
      );
  }
  const parameters = new Map<string, Parameter>();
  for (const spec of specs) {
    const size = spec.shape.reduce((a, b) => a * b, 1);
    const data = tensors
      ? fromFile((tensors.get(spec.path) as TensorData).data as Float32Array, spec)
      : spec.start(more.random.named(`start:${spec.path}`), new Float32Array(size));
    const value = tf.tensor(data, spec.shape as number[], 'float32');
    // Variables are anonymous: a second one of a name would throw, and paths are the only names here.
    const variable = tf.variable(value as tf.Tensor<tf.Rank>, more.trainable);
    value.dispose();
    parameters.set(spec.path, { variable, trainable: more.trainable, group: more.group });
  }
  return parameters;
}
