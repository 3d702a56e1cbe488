import {
  type AnyPlugin,
  type Composition,
  compose,
  MODEL,
  type Model,
  makeContext,
  OBJECTIVE,
  type Plugin,
  type RunOptions,
  run,
  type Snapshot,
  STORE,
  type Tensors,
} from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { arrays } from '../../plugins/data/arrays.js';
import { cpu } from '../../plugins/devices/cpu.js';
import { adamw } from '../../plugins/optimizers/adamw.js';

/** A linear model y = x w + b, whose weights start at fixed values. */
export const linearModel = (): Plugin => ({
  name: 'linear-model',
  fills: MODEL,
  async build(): Promise<Model> {
    const variable = (values: number[], shape: number[]) => {
      const value = tf.tensor(values, shape);
      const made = tf.variable(value);
      value.dispose();
      return made;
    };
    return {
      parameters: new Map([
        ['w', { variable: variable([0.5, -0.25, 0.125, 1], [2, 2]), trainable: true, group: 'main' }],
        ['b', { variable: variable([0.1, -0.1], [2]), trainable: true, group: 'main' }],
      ]),
      modules: new Map(),
      wraps: new Map(),
      forward: (context, { x }) => (x as tf.Tensor2D).matMul(context.parameters.w as tf.Tensor2D).add(context.parameters.b),
    };
  },
});

/** Mean squared error of the linear model. */
export const squaredError = (): Plugin => ({
  name: 'squared-error',
  fills: OBJECTIVE,
  loss: (context, model, batch) => {
    const predicted = model.forward(context, { x: batch.tensors.x });
    return tf.squaredDifference(predicted, batch.tensors.y).mean() as tf.Scalar;
  },
});

/** n examples of a fixed linear map with a wave on top. */
export function examples(n: number) {
  const x = Float32Array.from({ length: 2 * n }, (_, i) => Math.sin(0.7 * i + 0.1));
  const y = Float32Array.from({ length: 2 * n }, (_, i) => Math.cos(0.3 * i) + x[i]);
  return { x: { dtype: 'float32' as const, shape: [n, 2], data: x }, y: { dtype: 'float32' as const, shape: [n, 2], data: y } };
}

export interface SmallOptions extends Partial<RunOptions> {
  readonly items?: number;
  readonly batchSize?: number;
  readonly device?: Plugin;
  readonly shuffle?: boolean;
}

/** A run of the linear model on the cpu, to which tests add what they are about. */
export function smallRun({ items = 12, batchSize = 4, device = cpu(), shuffle = true, ...options }: SmallOptions = {}): Composition {
  return compose(
    run({ learningRate: 0.05, ...(options.epochs === undefined ? { steps: 6 } : {}), ...options }),
    device,
    linearModel(),
    arrays(examples(items), { batchSize, shuffle }),
    squaredError(),
    adamw(),
  );
}

/** Keeps the weights after every step, and at the end. */
export function weightsRecorder() {
  const steps: Record<string, number[]>[] = [];
  const losses: number[] = [];
  const plugin: Plugin = {
    name: 'weights-recorder',
    apply(host) {
      const read = (tensors: Tensors) => Object.fromEntries(Object.entries(tensors).map(([path, t]) => [path, Array.from(t.dataSync())]));
      host.hooks.afterStep.tap('weights-recorder', () => {
        steps.push(read(Object.fromEntries([...host.model().parameters].map(([path, p]) => [path, p.variable]))));
      });
      host.hooks.shouldLog.tap('weights-recorder', () => true);
      host.hooks.onRecord.tap('weights-recorder', (record) => {
        if (typeof record.loss === 'number') losses.push(record.loss);
      });
    },
  };
  return { plugin, steps, losses };
}

/** A store in memory: saves every `every` steps, gives `saved` back. */
export function memoryStore(every: number, saved: Snapshot | null = null) {
  const snapshots: Snapshot[] = [];
  const plugin: Plugin = {
    name: 'memory-store',
    fills: STORE,
    apply({ hooks }) {
      hooks.onRequest.tap('memory-store', (requests, { step }) => ((step + 1) % every === 0 ? { ...requests, checkpoint: 1 } : requests));
      hooks.onCheckpoint.tapPromise('memory-store', async ({ runId: _, ...snapshot }) => {
        // Without what tells runs apart: they are compared.
        snapshots.push(snapshot);
      });
    },
    read: async () => saved,
  };
  return { plugin, snapshots };
}

/** Stops after a number of steps. */
export const stopAfter = (steps: number): Plugin => ({
  name: 'stop-after',
  apply: ({ hooks }) =>
    hooks.onRequest.tap('stop-after', (requests, { step }) => (step + 1 === steps ? { ...requests, stop: 1 } : requests)),
});

export { type AnyPlugin, makeContext };
