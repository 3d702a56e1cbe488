import {
  type AnyPlugin,
  type Composition,
  compose,
  type DATA,
  type Filling,
  fail,
  type MODEL,
  type Plugin,
  run,
  type TensorData,
} from '../core/index.js';
import type { NamePattern } from '../core/name-pattern.js';
import type { LayersModel } from '../core/tf.js';
import { type LoraOptions, lora } from '../plugins/adapters/lora.js';
import { mergeAtEnd } from '../plugins/adapters/merge-at-end.js';
import { arrays } from '../plugins/data/arrays.js';
import { limitItems } from '../plugins/data/limit-items.js';
import { distributed } from '../plugins/distributed/distributed.js';
import { nonFiniteGuard } from '../plugins/gradients/non-finite-guard.js';
import { layersModel } from '../plugins/models/layers-model.js';
import type { Comparison } from '../plugins/objectives/losses/losses.js';
import { accuracy, topK } from '../plugins/objectives/losses/metrics.js';
import { type SupervisedObjectiveOptions, supervisedObjective } from '../plugins/objectives/supervised-objective.js';
import { evaluation } from '../plugins/observe/evaluation.js';
import { whileWatched } from '../plugins/observe/progress/preparation.js';
import { progress } from '../plugins/observe/progress.js';
import { adamw } from '../plugins/optimizers/adamw.js';
import { warmup } from '../plugins/schedules/warmup.js';
import { putBack } from './common/put-back.js';

/** Columns by name, each [examples, ...]: `y` the targets, `x` (or the model's input names) the inputs. */
export type Columns = Readonly<Record<string, TensorData>>;

export interface SupervisedPresetOptions extends SupervisedObjectiveOptions {
  /** A tf.LayersModel, a function that loads one, or any plugin that fills MODEL. */
  readonly model: LayersModel | (() => Promise<LayersModel>) | Extract<Plugin, { fills: typeof MODEL }>;
  /** Where to compute: webgpu(), say. */
  readonly device: Plugin;
  /** Arrays, or any plugin that fills DATA. */
  readonly data: Columns | Extract<Plugin, { fills: typeof DATA }>;
  /** Held out: evaluated at each epoch's end, or every `evaluateEvery` steps. */
  readonly validation?: Columns | Filling<'DATA'>;
  /** Look at what is held out every so many steps. */
  readonly evaluateEvery?: number;
  /** `accuracy`, `top-5` and the like, or comparisons by name. */
  readonly metrics?: readonly string[] | Readonly<Record<string, Comparison>>;
  /** Length of the run in passes over the data set. Default: 1. */
  readonly epochs?: number;
  /** Length of the run in optimizer steps; wins over epochs. */
  readonly steps?: number;
  /** Examples in a microBatch, where data are arrays. Default: 32. */
  readonly batchSize?: number;
  /** The base learning rate. Default: 0.001. */
  readonly learningRate?: number;
  /** Decoupled weight decay. Default: 0. */
  readonly weightDecay?: number;
  /** Steps over which the rate rises from 0. Default: 0. */
  readonly warmupSteps?: number;
  /** Train on only so many of the examples, to see whether they can be learnt by heart. */
  readonly limitItems?: number;
  /** Make one step, and evaluate one batch, to see that everything works; the model is as before afterwards. Default: false. */
  readonly fastDevRun?: boolean;
  /** No progress bar, nor lines of progress, nor how far evaluation is. Default: false. */
  readonly quiet?: boolean;
  /** Every random draw follows from it. Default: 0. */
  readonly seed?: number;
  /** Which of a LayersModel's weights are trained; those it allows by default. */
  readonly train?: readonly NamePattern[];
  /** Trains adapters on the named layers in place of the weights, and merges them when the run ends. */
  readonly lora?: LoraOptions & { readonly targets: readonly (string | RegExp)[] };
}

const isPlugin = (value: object): value is Plugin => 'name' in value && 'fills' in value;

function metricsOf(given: SupervisedPresetOptions['metrics']): Record<string, Comparison> {
  if (!Array.isArray(given)) return { ...(given as Record<string, Comparison> | undefined) };
  return Object.fromEntries(
    given.map((name: string) => {
      if (name === 'accuracy') return [name, accuracy()];
      const k = Number(/^top-(\d+)$/.exec(name)?.[1]);
      if (!(k > 0))
        fail(
          'OPTION_INVALID',
          'supervised',
          `there is no metric "${name}"`,
          'There are accuracy and top-K (top-5, say); or give functions by name.',
        );
      return [name, topK(k)];
    }),
  );
}

/** Supervised training of any TensorFlow.js model, whole or with LoRA. Nothing in it needs Node. */
export function supervised(o: SupervisedPresetOptions): Composition {
  const batchSize = o.batchSize ?? 32;
  const seed = o.seed ?? 0;
  const model =
    typeof o.model === 'function' || !isPlugin(o.model) ? layersModel(o.model as LayersModel, o.train ? { train: o.train } : {}) : o.model;
  const data = isPlugin(o.data) ? o.data : arrays(o.data, { batchSize });
  const held = o.validation && (isPlugin(o.validation) ? o.validation : arrays(o.validation as Columns, { batchSize, shuffle: false }));
  const adapter = o.lora && lora({ below: '', ...o.lora });
  const length = o.fastDevRun ? { steps: 1 } : o.steps === undefined ? { epochs: o.epochs ?? 1 } : { steps: o.steps };
  const plugins: (AnyPlugin | undefined)[] = [
    run({
      learningRate: o.learningRate ?? 1e-3,
      weightDecay: o.weightDecay ?? 0,
      warmupSteps: o.fastDevRun ? 0 : (o.warmupSteps ?? 0),
      seed,
      ...length,
    }),
    o.device,
    model,
    adapter,
    data as AnyPlugin,
    o.limitItems === undefined ? undefined : limitItems(o.limitItems),
    supervisedObjective(o),
    distributed(),
    adamw(),
    warmup(),
    nonFiniteGuard(),
    held &&
      evaluation(held as Filling<'DATA'>, {
        metrics: metricsOf(o.metrics),
        ...(o.outputs ? { outputs: o.outputs } : {}),
        ...(o.evaluateEvery && !o.fastDevRun ? { every: o.evaluateEvery } : {}),
        ...(o.fastDevRun ? { batches: 1 } : {}),
        ...(o.quiet ? {} : whileWatched()),
      }),
    o.quiet ? undefined : progress(),
    adapter && mergeAtEnd(adapter),
    o.fastDevRun ? putBack() : undefined,
  ];
  return compose(...plugins.filter((plugin) => plugin !== undefined));
}
