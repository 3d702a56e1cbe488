import { expect, test } from 'vitest';
import { compose, type FinishedRecord, OBJECTIVE, type Plugin, run, Trainer } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { wasm } from '../../../plugins/devices/wasm.js';
import { textToImageModel } from '../../../plugins/models/text-to-image-model.js';
import { denoising } from '../../../plugins/objectives/denoising.js';
import { evaluation } from '../../../plugins/observe/evaluation.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { reduceOnPlateau } from '../../../plugins/schedules/reduce-on-plateau.js';
import { ema } from '../../../plugins/weights/ema.js';
import { smallModel } from '../../support/small-model.js';
import { examples, memoryStore, smallRun, weightsRecorder } from '../../support/small-run.js';
import { wordsOnly } from '../../support/words-only.js';

/** The linear model's error under noise that belongs to examples: its loss moves with every draw. */
const noisyError = (): Plugin => ({
  name: 'noisy-error',
  fills: OBJECTIVE,
  loss: (context, model, { ids, tensors: { x, y } }) => {
    const noise = ids.flatMap((id) => [...context.draw('noise', id).normals(new Float32Array(2))]);
    return tf.squaredDifference(model.forward(context, { x: x.add(tf.tensor2d(noise, [ids.length, 2])) }), y).mean() as tf.Scalar;
  },
});

test('captions that are held out are looked at like those that are trained on, each by its picture’s name', async () => {
  const { unet, ...model } = smallModel(['red'], 0);
  const level = { block_out_channels: [4, 4, 4], norm_num_groups: 2, sample_size: 4 };
  const from = { ...model, tokenizer: wordsOnly(['red'], 12), unet: { ...unet, ...level } };
  const warned: string[] = [];
  const pictures = (...text: string[]) => {
    const images = { dtype: 'float32' as const, shape: [text.length, 8, 8, 3], data: new Float32Array(192 * text.length) };
    const { name, fills, open, ...rest } = arrays({ images }, { batchSize: 1, strings: { text } });
    const named = async () => ({ ...(await open()), nameOf: (id: number) => `${id}.png` });
    return { name, fills, ...rest, open: named };
  };
  await new Trainer(
    compose(
      run({ learningRate: 1e-2, steps: 1 }),
      wasm({ threads: 1 }),
      textToImageModel({ from, train: 'unet' }),
      pictures('red', 'sks'),
      denoising(),
      sgd(),
      evaluation(pictures('red', 'dog', 'red dog')),
    ),
    { warn: (what: string) => void warned.push(what) },
  ).train();
  expect(warned).toEqual(
    expect.arrayContaining([
      expect.stringContaining(
        '1 of 2 captions have words that the model does not know, which it takes for the end of a text: sks (1); of 1.png',
      ),
      expect.stringContaining(
        '2 of 3 held-out captions have words that the model does not know, which it takes for the end of a text: dog (2); of 1.png, 2.png',
      ),
    ]),
  );
});

test('evaluation has noise of its own: always the same, and training’s draws do not move', async () => {
  const held = () => evaluation(arrays(examples(7), { batchSize: 3, shuffle: false }), { every: 2 });
  const [with_, without] = [weightsRecorder(), weightsRecorder()];
  await new Trainer(smallRun().with(noisyError(), held(), with_.plugin)).train();
  await new Trainer(smallRun().with(noisyError(), without.plugin)).train();
  expect(with_.steps).toEqual(without.steps);
  // Weights that stay: the held-out loss stays with them, while training's moves with its draws.
  const seen: number[] = [];
  const watch: Plugin = {
    name: 'watch',
    after: ['evaluation'],
    apply: ({ hooks }) =>
      hooks.onEvaluate.tap('watch', (metrics) => {
        seen.push(metrics['loss.held']);
        return metrics;
      }),
  };
  const still = weightsRecorder();
  await new Trainer(smallRun({ learningRate: 0, steps: 8 }).with(noisyError(), held(), watch, still.plugin)).train();
  expect(seen).toHaveLength(4);
  expect(new Set(seen).size).toBe(1);
  expect(new Set(still.losses).size).toBe(8);
});

test('an evaluation that throws leaves the weights as they are, and the checkpoint before it whole', async () => {
  const recorder = weightsRecorder();
  const store = memoryStore(1);
  const broken: Plugin = {
    name: 'broken',
    apply({ hooks, weights }) {
      hooks.onRequest.tap('broken', (requests, { step }) => (step === 3 ? { ...requests, evaluate: 1 } : requests));
      hooks.onEvaluate.tap('broken', () => {
        weights('evaluate');
        throw new Error('in the evaluation');
      });
    },
  };
  await expect(new Trainer(smallRun().with(ema({ decay: 0.5 }), store.plugin, recorder.plugin, broken)).train()).rejects.toThrow(
    'in the evaluation',
  );
  // The snapshot holds the model's own weights, not the average.
  expect(Array.from(store.snapshots[2].parameters.w.data)).toEqual(recorder.steps[2].w);
  expect(store.snapshots[2].plugins.ema.w).not.toEqual(store.snapshots[2].parameters.w);
});

test('a stop in the middle of an evaluation ends it and the run, without another step; a resumed run evaluates first and goes on as if undisturbed', async () => {
  /** What is held out, which does something when so many batches of it were loaded. */
  const held = (at: number, act: () => void) => {
    const data = arrays(examples(40), { batchSize: 1, shuffle: false });
    let loaded = 0;
    const open: typeof data.open = async () => {
      const source = await data.open();
      const load: typeof source.load = (...given) => {
        if (++loaded === at) act();
        return source.load(...given);
      };
      return { ...source, load };
    };
    return { ...data, open };
  };
  const run = (data: ReturnType<typeof held>, store: Plugin) => {
    const recorder = weightsRecorder();
    const records: FinishedRecord[] = [];
    const log: Plugin = { name: 'log', apply: ({ hooks }) => hooks.onRecord.tap((record) => void records.push(record)) };
    const plugins = smallRun({ steps: 8 }).with(
      evaluation(data, { every: 2 }),
      reduceOnPlateau({ patience: 0, threshold: 0.5 }),
      recorder.plugin,
      log,
      store,
    );
    return { trainer: new Trainer(plugins), steps: recorder.steps, metrics: () => records.filter((record) => 'loss.held' in record) };
  };
  const whole = run(
    held(0, () => undefined),
    memoryStore(99).plugin,
  );
  await whole.trainer.train();
  const abort = new AbortController();
  const store = memoryStore(99);
  const first = run(
    held(43, () => abort.abort()),
    store.plugin,
  );
  const result = await first.trainer.train({ signal: abort.signal });
  expect([result.step, result.stopped, result.asked]).toEqual([4, true, true]);
  expect(store.snapshots.map(({ step, evaluationDue }) => [step, evaluationDue])).toEqual([[4, true]]);
  const second = run(
    held(0, () => undefined),
    memoryStore(99, store.snapshots[0]).plugin,
  );
  await second.trainer.train();
  expect([...first.steps, ...second.steps]).toEqual(whole.steps);
  expect(whole.metrics().map(({ step }) => step)).toEqual([2, 4, 6, 8]);
  expect([...first.metrics(), ...second.metrics()]).toEqual(whole.metrics());
});

test('breaking off where nothing is evaluated is an error', async () => {
  const plugin: Plugin = { name: 'mine', apply: ({ hooks, breakOffEvaluation }) => hooks.afterStep.tap(() => breakOffEvaluation()) };
  await expect(new Trainer(smallRun().with(plugin)).train()).rejects.toThrow(/EVALUATION_BROKEN_OFF \(mine\)/);
});
