import { allToHost, assignAll, fail, type Host, MODEL, type Model, type NamePattern, type State } from '../../core/index.js';
import type { LayersModel, Variable } from '../../core/tf.js';
import { forward, takeCalls, type Underway } from './tfjs-layers/forward.js';
import { asLayer, leaves, UNKEYED } from './tfjs-layers/internals.js';
import { layerParameters, modulesOf } from './tfjs-layers/parameters.js';

export interface LayersModelOptions {
  /** Which weights are trained, by path; all that the model's `trainable` flags allow by default. */
  readonly train?: readonly NamePattern[];
}

/**
 * A tf.LayersModel, trained in place: it is the caller's before and after. Weights are parameters named `layer.kernel`; dense
 * and convolution layers are modules that adapters can wrap; dropout's masks are keyed draws; the running statistics of batch
 * normalization are kept in snapshots. Inputs are taken by the model's input names, a single one also as `x`.
 */
export const layersModel = (source: LayersModel | (() => Promise<LayersModel>), { train }: LayersModelOptions = {}) => {
  let buffers = new Map<string, Variable>();
  let restoreCalls: () => void = () => undefined;
  let warn: (what: string) => void = () => undefined;
  return {
    name: 'layers-model',
    fills: MODEL,
    apply(host: Host) {
      warn = host.warn;
    },
    async build(): Promise<Model> {
      const model = typeof source === 'function' ? await source() : source;
      if (model.outputs?.length !== 1)
        fail(
          'MODEL_UNFIT',
          'layers-model',
          model.outputs ? `the model has ${model.outputs.length} outputs` : 'the model is not built yet: its layers have no weights',
          model.outputs ? 'Make one of the output that is to be trained.' : 'Give its first layer an inputShape.',
        );
      const layers = leaves(asLayer(model));
      for (const [path, layer] of layers)
        if (UNKEYED.test(layer.getClassName()))
          warn(
            `the layer ${path} draws random numbers that the run's seed does not reach, so that a resumed run will not equal an uninterrupted one`,
          );
      const { parameters, weights } = layerParameters(layers, train);
      buffers = new Map([...parameters].filter(([, { buffer }]) => buffer).map(([path, { variable }]) => [path, variable]));
      const state: Underway = { context: null };
      restoreCalls = takeCalls(layers, state);
      const last = layers.at(-1)?.[1];
      const end = last?.activation?.getClassName() ?? (last?.getClassName() === 'Softmax' ? 'softmax' : '');
      return {
        parameters,
        modules: modulesOf(layers),
        wraps: new Map(),
        ...(/^(softmax|sigmoid)$/i.test(end) ? { outputs: 'probabilities' as const } : {}),
        forward: (context, inputs) => forward(model, weights, state, context, inputs),
        dispose: () => restoreCalls(),
      };
    },
    capture: (): Promise<State> => allToHost(Object.fromEntries(buffers)),
    restore: async (saved: State) => assignAll('layers-model', buffers, saved),
  };
};
