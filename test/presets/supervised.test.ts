import { describe, expect, test } from 'vitest';
import { type AnyPlugin, type Plugin, seededRandom, type TensorData, Trainer } from '../../core/index.js';
import * as tf from '../../core/tf.js';
import { lora } from '../../plugins/adapters/lora.js';
import { mergeAtEnd } from '../../plugins/adapters/merge-at-end.js';
import { arrays } from '../../plugins/data/arrays.js';
import { stream } from '../../plugins/data/stream.js';
import { device } from '../../plugins/devices/device.js';
import { functionModel } from '../../plugins/models/function-model.js';
import { sgd } from '../../plugins/optimizers/sgd.js';
import { inMemory } from '../../plugins/persist/formats/files.js';
import { layersFiles } from '../../plugins/persist/formats/layers-files.js';
import { ema } from '../../plugins/weights/ema.js';
import { type SupervisedPresetOptions, supervised } from '../../presets/supervised.js';
import { relativeGap, testDevices, use } from '../support/devices.js';
import { memoryStore, stopAfter, weightsRecorder } from '../support/small-run.js';

const N = 12;
const random = seededRandom(5);
const floats = (shape: number[], name: string): TensorData => {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  return { dtype: 'float32', shape, data: random.named(name).normals(data) as Float32Array };
};
const images = floats([N, 8, 8, 3], 'images');
const labels: TensorData = { dtype: 'int32', shape: [N], data: Int32Array.from({ length: N }, (_, i) => i % 3) };
const data = { x: images, y: labels };

/** Convolutions of every padding, normalization, pooling and dense layers; weights start from seeds. */
function network({ dropout = 0, normalize = true, end = 'softmax' as 'softmax' | 'linear' } = {}): tf.LayersModel {
  const start = (seed: number) => tf.initializers.glorotUniform({ seed });
  const layers: tf.layers.Layer[] = [
    tf.layers.conv2d({
      name: 'one',
      inputShape: [8, 8, 3],
      filters: 4,
      kernelSize: 3,
      padding: 'same',
      activation: 'relu',
      kernelInitializer: start(1),
    }),
    ...(normalize ? [tf.layers.batchNormalization({ name: 'norm' })] : []),
    tf.layers.conv2d({
      name: 'two',
      filters: 6,
      kernelSize: 3,
      strides: 2,
      padding: 'same',
      activation: 'tanh',
      kernelInitializer: start(2),
    }),
    tf.layers.maxPooling2d({ poolSize: 2 }),
    tf.layers.flatten(),
    ...(dropout > 0 ? [tf.layers.dropout({ name: 'drop', rate: dropout })] : []),
    tf.layers.dense({ name: 'hidden', units: 7, activation: 'sigmoid', kernelInitializer: start(3) }),
    tf.layers.dense({ name: 'end', units: 3, activation: end, kernelInitializer: start(4) }),
  ];
  return tf.sequential({ layers });
}

const named = (name: string): Plugin => device(name as 'wasm', { threads: 2 }) as Plugin;
const job = (o: Partial<SupervisedPresetOptions> & { model: SupervisedPresetOptions['model'] }, on = 'wasm') =>
  supervised({ device: named(on), data, loss: 'cross-entropy', batchSize: 4, learningRate: 0.05, ...o } as SupervisedPresetOptions);
const train = (plugins: ReturnType<typeof job>, ...more: AnyPlugin[]) =>
  new Trainer(plugins.with(...more), { warn: () => undefined }).train();
const weightsIn = async (model: tf.LayersModel) => Promise.all(model.getWeights().map(async (w) => Array.from(await w.data())));

for (const on of await testDevices())
  describe(`a LayersModel on ${on}`, () => {
    test('trains as its own fit does: sgd, batches in order, batch normalization', async () => {
      await use(on);
      const [ours, theirs] = [network(), network()];
      theirs.compile({ optimizer: tf.train.sgd(0.05), loss: 'sparseCategoricalCrossentropy' });
      const x = tf.tensor(images.data as Float32Array, images.shape as number[]);
      // fit wants float labels.
      const y = tf.tensor(Float32Array.from(labels.data), [N, 1]);
      await theirs.fit(x, y, { batchSize: 4, epochs: 2, shuffle: false, verbose: 0 });
      await train(job({ model: ours, epochs: 2 }, on), arrays(data, { batchSize: 4, shuffle: false }), sgd());
      const [a, b] = [await weightsIn(ours), await weightsIn(theirs)];
      for (const [i, values] of a.entries())
        expect(relativeGap(values, b[i]), ours.weights[i].originalName).toBeLessThan(on === 'webgpu' ? 1e-4 : 2e-5);
      tf.dispose([x, y]);
    });

    test('LoRA starts as the base, learns with its weights frozen, and is merged at the end', async () => {
      await use(on);
      const model = network({ normalize: false });
      const x = tf.tensor(images.data as Float32Array, images.shape as number[]);
      const before = await weightsIn(model);
      const adapter = lora({ below: '', rank: 2, targets: ['one', 'two', 'hidden', 'end'] });
      let adapted: ArrayLike<number> = [];
      let started: ArrayLike<number> = [];
      const look: Plugin = {
        name: 'look',
        apply: (host) => {
          const draw = async () => {
            const y = tf.tidy(() => host.model().forward(host.evaluation(host.weights('evaluate')), { x }));
            const values = await y.data();
            y.dispose();
            return values;
          };
          host.hooks.onStart.tapPromise('look', async () => {
            started = await draw();
          });
          host.hooks.onEnd.tapPromise('look', async () => {
            expect(await weightsIn(model)).toEqual(before);
            adapted = await draw();
          });
        },
      };
      const first = model.predict(x) as tf.Tensor;
      const base = await first.data();
      // look stands before the merging, which comes last.
      const plugins = job({ model, steps: 6 }, on).with(adapter, look).with(mergeAtEnd(adapter));
      await train(plugins);
      expect(relativeGap(started, base)).toBeLessThan(1e-5);
      expect(relativeGap(adapted, base)).toBeGreaterThan(1e-3);
      const last = model.predict(x) as tf.Tensor;
      expect(relativeGap(await last.data(), adapted)).toBeLessThan(1e-4);
      tf.dispose([x, first, last]);
    });
  });

describe('a LayersModel', () => {
  test('with dropout and batch normalization resumes bit for bit, its statistics included, and leaks no tensor', async () => {
    await use('wasm');
    const fresh = () => network({ dropout: 0.3 });
    const run = (model: tf.LayersModel) =>
      job({ model, steps: 7, validation: data, metrics: ['accuracy', 'top-2'] }).with(ema({ decay: 0.5 }));
    await train(run(fresh()));
    const model = fresh();
    const before = tf.memory().numTensors;
    const [whole, wholeStore] = [weightsRecorder(), memoryStore(7)];
    await train(run(model), whole.plugin, wholeStore.plugin);
    expect(tf.memory().numTensors).toBe(before);
    const store = memoryStore(4);
    await train(run(fresh()), store.plugin, stopAfter(4));
    const [rest, restStore] = [weightsRecorder(), memoryStore(7, store.snapshots[0])];
    await train(run(fresh()), rest.plugin, restStore.plugin);
    expect(rest.steps).toEqual(whole.steps.slice(4));
    expect(restStore.snapshots).toEqual(wholeStore.snapshots);
    // The statistics moved, and are what the snapshot holds.
    const moved = wholeStore.snapshots[0].plugins['layers-model']['norm.moving_mean'] as TensorData;
    expect(Math.max(...Array.from(moved.data, Math.abs))).toBeGreaterThan(0);
    expect(whole.steps[6]['norm.moving_mean']).toEqual(Array.from(moved.data));
  });

  test('is loaded, fine-tuned in part, saved and loaded again', async () => {
    await use('wasm');
    const files = inMemory();
    await network().save(layersFiles(files));
    const model = await tf.loadLayersModel(layersFiles(files));
    const before = await weightsIn(model);
    const { metrics } = await train(job({ model, train: ['end'], epochs: 3, validation: data, metrics: ['accuracy'] }));
    expect(Object.keys(metrics)).toEqual(['loss.held', 'accuracy']);
    const after = await weightsIn(model);
    const names = model.weights.map((w) => w.originalName);
    for (const [i, name] of names.entries())
      if (/^end\//.test(name)) expect(after[i]).not.toEqual(before[i]);
      else if (!/moving/.test(name)) expect(after[i]).toEqual(before[i]);
    const out = inMemory();
    await model.save(layersFiles(out));
    const again = await tf.loadLayersModel(layersFiles(out));
    expect(await weightsIn(again)).toEqual(after);
    await expect(tf.loadLayersModel(layersFiles(inMemory(new Map([['model.json', new TextEncoder().encode('{}')]]))))).rejects.toThrow(
      /BAD_JSON.*no saved LayersModel/,
    );
  });

  test('weights that somebody else looks at are left alone', async () => {
    await use('wasm');
    const model = network();
    const mine = model.getWeights().map((w) => w.clone());
    const values = await Promise.all(mine.map(async (w) => Array.from(await w.data())));
    await train(job({ model, steps: 2 }));
    expect(await Promise.all(mine.map(async (w) => Array.from(await w.data())))).toEqual(values);
  });

  test.each([
    ['its weights and statistics', {}],
    ['adapters, which are merged', { lora: { rank: 2, targets: ['hidden'] } }],
  ])('a fast dev run of %s leaves the model as it was, bit for bit, also when it fails', async (_, how) => {
    await use('wasm');
    const model = network();
    const before = await weightsIn(model);
    let during: number[][] = [];
    const look = (): Plugin => ({
      name: 'look',
      after: ['merge-at-end'],
      apply: ({ hooks }) =>
        hooks.onEnd.tapPromise(async () => {
          during = await weightsIn(model);
        }),
    });
    const trial = () => job({ model, epochs: 5, warmupSteps: 9, validation: data, metrics: ['accuracy'], fastDevRun: true, ...how });
    const { step, metrics } = await train(trial(), look());
    expect([step, Object.keys(metrics)]).toEqual([1, ['loss.held', 'accuracy']]);
    expect(during).not.toEqual(before);
    expect(await weightsIn(model)).toEqual(before);
    const fails: Plugin = {
      name: 'fails',
      after: ['merge-at-end'],
      apply: ({ hooks }) =>
        hooks.onEnd.tap(() => {
          throw new Error('no more');
        }),
    };
    await expect(train(trial(), fails)).rejects.toThrow('no more');
    expect(await weightsIn(model)).toEqual(before);
  });

  test('how far evaluation is is shown on a terminal, and there alone', async () => {
    await use('wasm');
    const { isTTY, write } = process.stderr;
    let said = '';
    const told = async (terminal: boolean, quiet: boolean) => {
      said = '';
      process.stderr.isTTY = terminal;
      process.stderr.write = (text) => {
        said += text;
        return true;
      };
      try {
        await train(job({ model: network(), steps: 1, validation: data, quiet }));
      } finally {
        Object.assign(process.stderr, { isTTY, write });
      }
      return said;
    };
    expect(await told(true, false)).toMatch(/batches held out 1\/3.*batches held out 2\/3.*batches held out 3\/3/s);
    expect(await told(true, true)).not.toContain('held out');
    expect(await told(false, false)).not.toContain('held out');
  });

  test('what does not fit is named before training', async () => {
    await use('wasm');
    await expect(train(job({ model: network(), train: ['nothing'] }))).rejects.toThrow(/PATTERN_UNMATCHED.*train nothing/);
    await expect(train(job({ model: network(), loss: 'crossentropy' as 'mse' }))).rejects.toThrow(/no loss "crossentropy".*cross-entropy/);
    await expect(train(job({ model: network(), data: { x: images } }))).rejects.toThrow(/no column y/);
    await expect(train(job({ model: network(), data: { pixels: images, y: labels } }))).rejects.toThrow(/input \S+ was not given.*pixels/);
    expect(() => job({ model: network(), validation: data, metrics: ['acuracy'] })).toThrow(/no metric "acuracy"/);
    const x = tf.input({ shape: [2] });
    const two = tf.model({ inputs: x, outputs: [1, 2].map((units) => tf.layers.dense({ units }).apply(x) as tf.SymbolicTensor) });
    await expect(train(job({ model: two }))).rejects.toThrow(/MODEL_UNFIT.*2 outputs/);
  });
});

describe('other models and data', () => {
  test('any function with named variables', async () => {
    await use('wasm');
    const variables = { w: tf.variable(tf.zeros([2, 1])), b: tf.variable(tf.zeros([1])) };
    const x = floats([40, 2], 'line');
    const y = Float32Array.from({ length: 40 }, (_, i) => 2 * x.data[2 * i] - x.data[2 * i + 1] + 0.5);
    const model = functionModel(variables, ({ w, b }, { x: input }) => (input as tf.Tensor2D).matMul(w as tf.Tensor2D).add(b));
    const { metrics } = await train(
      job({
        model,
        data: { x, y: { dtype: 'float32', shape: [40, 1], data: y } },
        loss: 'mse',
        epochs: 40,
        learningRate: 0.1,
        validation: { x, y: { dtype: 'float32', shape: [40, 1], data: y } },
      }),
    );
    expect(metrics['loss.held']).toBeLessThan(1e-3);
    expect(relativeGap(await variables.w.data(), [2, -1])).toBeLessThan(0.03);
    await expect(train(job({ model: functionModel(variables, () => tf.scalar(0), { frozen: ['c'] }) }))).rejects.toThrow(/no variable c/);
  });

  const size = 8 * 8 * 3;
  const row = (i: number) => ({
    x: tf.tensor(images.data.slice(i * size, (i + 1) * size) as Float32Array, [8, 8, 3]),
    y: tf.scalar(i % 3, 'int32'),
  });
  async function* generate() {
    for (let i = 0; i < N; i++) yield row(i);
  }

  test.each([
    ['an async generator', () => stream(() => generate(), { batchSize: 4 })],
    [
      'a tf.data.Dataset of batches, in the names that fit wants',
      () => {
        const xs = tf.data
          .array(Array.from({ length: N }, (_, i) => i))
          .map((i) => ({ xs: row(i as number).x, ys: row(i as number).y }) as never);
        return stream(() => xs.batch(5) as never, { batchSize: 4, items: N, batched: true });
      },
    ],
  ])('%s gives what arrays give, and resumes in the middle of an epoch', async (_, make) => {
    await use('wasm');
    const run = (from: AnyPlugin) => job({ model: network(), steps: 5 }).with(from);
    const [expected, whole] = [weightsRecorder(), weightsRecorder()];
    await train(run(arrays(data, { batchSize: 4, shuffle: false })), expected.plugin);
    const store = memoryStore(2);
    await train(run(make()), whole.plugin, store.plugin);
    expect(whole.steps).toEqual(expected.steps);
    const rest = weightsRecorder();
    await train(run(make()), rest.plugin, memoryStore(100, store.snapshots[0]).plugin);
    expect(rest.steps).toEqual(whole.steps.slice(2));
  });

  test('a stream that ends early, or changes its shape, says so', async () => {
    await use('wasm');
    await expect(train(job({ model: network(), steps: 4 }).with(stream(() => generate(), { batchSize: 4, items: 13 })))).rejects.toThrow(
      /epoch 0 ended after 12 examples, 13 were expected/,
    );
    async function* uneven() {
      yield { x: [1, 2], y: 0 };
      yield { x: [1, 2, 3], y: 0 };
    }
    await expect(train(job({ model: network(), steps: 1 }).with(stream(() => uneven(), { batchSize: 2 })))).rejects.toThrow(
      /shape \[2\].*\[3\]/,
    );
  });
});
