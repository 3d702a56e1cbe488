import type { LayersModel, Tensor, Variable } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import {
  allToHost,
  assignAll,
  type Context,
  fail,
  type Host,
  type Inputs,
  MODEL,
  type Model,
  type ModuleFacts,
  type Parameter,
  type State,
} from '../../core/index.js';
import { matches, type NamePattern } from '../../core/name-pattern.js';

export interface LayersModelOptions {
  /** Which weights are trained, by path; all that the model's own `trainable` flags allow by default. */
  readonly train?: readonly NamePattern[];
}

/** The parts of tfjs-layers that this file reaches into (version 4.22). */
interface LayerWeight {
  readonly originalName: string;
  val: Tensor;
}
interface Layer {
  readonly name: string;
  readonly weights: LayerWeight[];
  readonly trainableWeights: LayerWeight[];
  readonly layers?: Layer[];
  activation?: { apply(x: Tensor): Tensor; getClassName(): string };
  readonly rate?: number;
  readonly kernelSize?: number[];
  readonly strides?: number[];
  readonly dilationRate?: number | number[];
  readonly padding?: string;
  readonly dataFormat?: string;
  getClassName(): string;
  getNoiseShape?(x: Tensor): number[];
  call(inputs: Tensor | Tensor[], kwargs: object): Tensor;
}

const first = (inputs: Tensor | Tensor[]): Tensor => (Array.isArray(inputs) ? inputs[0] : inputs);

/** How tfjs-layers names a layer that was given no name: with a number that counts through the whole process. */
const UNNAMED = /^(\w*_[A-Z]\w*?)(\d+)$/;

/**
 * Layers that hold weights or compute, models within models opened; a path is the layers' names with dots between. Names that
 * were made up are counted from 1 within the model, so that the same model built again has the same paths.
 */
function leaves(layer: Layer, above = ''): [string, Layer][] {
  const counts = new Map<string, number>();
  return (layer.layers ?? []).flatMap((inner): [string, Layer][] => {
    const kind = UNNAMED.exec(inner.name)?.[1];
    const count = (counts.get(kind ?? '') ?? 0) + 1;
    if (kind) counts.set(kind, count);
    const path = `${above}${kind ? `${kind}${count}` : inner.name}`;
    return inner.layers ? leaves(inner, `${path}.`) : [[path, inner]];
  });
}

/** Layers that draw random numbers in a way that cannot be keyed from outside. */
const UNKEYED = /^(GaussianNoise|GaussianDropout|AlphaDropout|Random)/;

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
      const layers = leaves(model as unknown as Layer);
      for (const [path, layer] of layers)
        if (UNKEYED.test(layer.getClassName()))
          warn(`the layer ${path} draws random numbers of its own, so that a resumed run will not equal an uninterrupted one`);
      const { parameters, weights } = parametersOf(layers, train);
      buffers = new Map([...parameters].filter(([, { buffer }]) => buffer).map(([path, { variable }]) => [path, variable]));
      const state: { context: Context | null } = { context: null };
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

function parametersOf(layers: readonly [string, Layer][], train: readonly NamePattern[] | undefined) {
  const parameters = new Map<string, Parameter>();
  const weights = new Map<string, LayerWeight>();
  for (const [above, layer] of layers)
    for (const weight of layer.weights) {
      const short = `${above}.${weight.originalName.split('/').at(-1)}`;
      const path = parameters.has(short) ? `${above}.${weight.originalName.replaceAll('/', '.')}` : short;
      const variable = weight.val as Variable;
      // Optimizers write in place: a memory that somebody else looks at is copied first.
      if (tf.backend().refCount?.(variable.dataId) > 1 || isElsewhere(variable)) own(variable);
      const allowed = layer.trainableWeights.includes(weight);
      const trainable = allowed && (train === undefined || train.some((pattern) => matches(pattern, path)));
      const buffer = !trainable && /\.moving_(mean|variance)$/.test(path);
      parameters.set(path, { variable, trainable, group: 'default', lent: true, ...(buffer ? { buffer } : {}) });
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

const own = (variable: Variable): void => {
  const copy = tf.tidy(() => variable.mul(1));
  variable.assign(copy as Tensor<tf.Rank>);
  copy.dispose();
};

/** A model made before the device was chosen lies in another backend's memory. */
const isElsewhere = (variable: Variable): boolean =>
  (tf.engine() as unknown as { state: { tensorInfo: WeakMap<object, { backend: unknown }> } }).state.tensorInfo.get(variable.dataId)
    ?.backend !== tf.backend();

function modulesOf(layers: readonly [string, Layer][]): Map<string, ModuleFacts> {
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

/** A linear activation, which the modules' own are swapped for while an adapter adds to what comes before it. */
const linearActivation = () => (tf.layers.dense({ units: 1 }) as unknown as Layer).activation;

/** Puts the layers' calls through the context of the forward pass under way. Returns what undoes it. */
function takeCalls(layers: readonly [string, Layer][], state: { readonly context: Context | null }): () => void {
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
        const shape = layer.getNoiseShape?.(x) ?? x.shape;
        const mask = new Float32Array(shape.reduce((a, b) => a * b, 1));
        context.drawHere(`dropout:${path}`).uniforms(mask, 0, 1);
        for (let i = 0; i < mask.length; i++) mask[i] = mask[i] < rate ? 0 : 1 / (1 - rate);
        return x.mul(tf.tensor(mask, shape));
      };
    else continue;
    taken.push(layer);
  }
  return () => {
    // The class's own method comes back.
    for (const layer of taken) delete (layer as Partial<Layer>).call;
  };
}

function forward(
  model: LayersModel,
  weights: ReadonlyMap<string, LayerWeight>,
  state: { context: Context | null },
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
  // Other values than the model's own (an average, say) stand in its layers for as long as this call takes.
  const swapped: [LayerWeight, Tensor][] = [];
  state.context = context;
  try {
    for (const [path, weight] of weights) {
      const used = context.parameters[path];
      if (used === undefined || used === weight.val) continue;
      swapped.push([weight, weight.val]);
      weight.val = used;
    }
    return first((model as unknown as Layer).call(given, { training: context.mode === 'train' }));
  } finally {
    for (const [weight, own] of swapped) weight.val = own;
    state.context = null;
  }
}
