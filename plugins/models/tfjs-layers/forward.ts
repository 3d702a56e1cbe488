import { type Context, fail, type Inputs } from '../../../core/index.js';
import type { LayersModel, Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { dropout } from '../layers/dropout.js';
import { asLayer, first, type Layer, type LayerWeight, UNKEYED } from './internals.js';

/** The context of the forward pass under way; null between passes. */
export interface Underway {
  context: Context | null;
}

/** A linear activation, which stands in for a module's while an adapter adds to what comes before it. */
const linearActivation = () => (tf.layers.dense({ units: 1 }) as unknown as Layer).activation;

/** Puts the layers' calls through the context of the forward pass under way. Returns what undoes it. */
export function takeCalls(layers: readonly [string, Layer][], state: Readonly<Underway>): () => void {
  const linear = linearActivation();
  const taken: Layer[] = [];
  for (const [path, layer] of layers) {
    const kind = layer.getClassName();
    const call = layer.call.bind(layer);
    if (kind === 'Dense' || kind === 'Conv2D')
      layer.call = (inputs, kwargs) => {
        const { context } = state;
        if (!context?.wrapped(path)) return call(inputs, kwargs);
        const { activation } = layer;
        const y = context.module(path, [first(inputs)], ([x]) => {
          layer.activation = linear;
          try {
            return call(x, kwargs);
          } finally {
            layer.activation = activation;
          }
        });
        return activation && activation.getClassName() !== 'linear' ? activation.apply(y) : y;
      };
    else if (kind.endsWith('Dropout') && layer.rate !== undefined && !UNKEYED.test(kind))
      layer.call = (inputs, kwargs) => {
        const { context } = state;
        const x = first(inputs);
        const rate = layer.rate as number;
        if (!context) return call(inputs, kwargs);
        if (context.mode !== 'train' || rate === 0) return x.clone();
        return dropout(context, path, x, rate, layer.getNoiseShape?.(x));
      };
    else continue;
    taken.push(layer);
  }
  return () => {
    // The class's method comes back.
    for (const layer of taken) delete (layer as Partial<Layer>).call;
  };
}

/** One forward pass; MODEL_UNFIT where an input was not given. */
export function forward(
  model: LayersModel,
  weights: ReadonlyMap<string, LayerWeight>,
  state: Underway,
  context: Context,
  inputs: Inputs,
): Tensor {
  const given = model.inputs.map(({ name }) => {
    const tensor = inputs[name] ?? (model.inputs.length === 1 ? inputs.x : undefined);
    if (!(tensor instanceof tf.Tensor))
      fail(
        'MODEL_UNFIT',
        'layers-model',
        `the model's input ${name} was not given`,
        `The data has ${Object.keys(inputs).join(', ') || 'nothing'}: name a column after it.`,
      );
    return tensor as Tensor;
  });
  // Other values than the model's (an average, say) stand in its layers for as long as this call takes.
  const swapped: [LayerWeight, Tensor][] = [];
  state.context = context;
  try {
    for (const [path, weight] of weights) {
      const used = context.parameters[path];
      if (used === undefined || used === weight.val) continue;
      swapped.push([weight, weight.val]);
      weight.val = used;
    }
    return first(asLayer(model).call(given, { training: context.mode === 'train' }));
  } finally {
    for (const [weight, value] of swapped) weight.val = value;
    state.context = null;
  }
}
