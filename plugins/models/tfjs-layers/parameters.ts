import { fail, type ModuleFacts, matches, type NamePattern, type Parameter } from '../../../core/index.js';
import type { Tensor, Variable } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { isElsewhere, isUnshared } from '../../devices/compute/memory.js';
import type { Layer, LayerWeight } from './internals.js';

/**
 * A model's weights as parameters, by path. `train` names those that are trained; PATTERN_UNMATCHED where a pattern fits none.
 */
export function layerParameters(layers: readonly [string, Layer][], train: readonly NamePattern[] | undefined) {
  const parameters = new Map<string, Parameter>();
  const weights = new Map<string, LayerWeight>();
  for (const [above, layer] of layers)
    for (const weight of layer.weights) {
      const short = `${above}.${weight.originalName.split('/').at(-1)}`;
      const path = parameters.has(short) ? `${above}.${weight.originalName.replaceAll('/', '.')}` : short;
      const variable = weight.val as Variable;
      // Optimizers write in place: a memory that somebody else looks at is copied first.
      if (isElsewhere(variable) || !isUnshared(variable)) copyInPlace(variable);
      const allowed = layer.trainableWeights.includes(weight);
      const trainable = allowed && (train === undefined || train.some((pattern) => matches(pattern, path)));
      const buffer = !trainable && /\.moving_(mean|variance)$/.test(path);
      parameters.set(path, { variable, trainable, group: 'default', borrowed: true, ...(buffer ? { buffer } : {}) });
      weights.set(path, weight);
    }
  for (const pattern of train ?? [])
    if (![...parameters.keys()].some((path) => matches(pattern, path)))
      fail(
        'PATTERN_UNMATCHED',
        'layers-model',
        `train ${pattern} fits no weight of the model`,
        `There are ${parameters.size}, such as ${[...parameters.keys()].slice(0, 3).join(', ')}.`,
      );
  return { parameters, weights };
}

/** Gives a variable a memory that nobody else looks at. */
const copyInPlace = (variable: Variable): void => {
  const copy = tf.tidy(() => variable.mul(1));
  variable.assign(copy as Tensor<tf.Rank>);
  copy.dispose();
};

/** The layers that adapters can wrap: dense ones, and plain convolutions. */
export function modulesOf(layers: readonly [string, Layer][]): Map<string, ModuleFacts> {
  const modules = new Map<string, ModuleFacts>();
  for (const [path, layer] of layers) {
    const kind = layer.getClassName();
    const weight = `${path}.kernel`;
    const shape = layer.weights.find(({ originalName }) => originalName.endsWith('/kernel'))?.val.shape;
    if (!shape) continue;
    if (kind === 'Dense') modules.set(path, { kind: 'linear', weight, shape });
    const [stride, other] = layer.strides ?? [];
    const plain = layer.dataFormat === 'channelsLast' && [layer.dilationRate ?? 1].flat().every((d) => d === 1) && stride === other;
    if (kind === 'Conv2D' && plain)
      modules.set(path, { kind: 'conv2d', weight, shape, stride, padding: layer.padding === 'same' ? 'same' : 0 });
  }
  return modules;
}
