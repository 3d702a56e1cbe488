import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { OBJECTIVE, type Plugin, Trainer } from '../../core/index.js';
import { arrays } from '../../plugins/data/arrays.js';
import { earlyStopping } from '../../plugins/observe/early-stopping.js';
import { evaluation } from '../../plugins/observe/evaluation.js';
import { reduceOnPlateau } from '../../plugins/schedules/reduce-on-plateau.js';
import { ema } from '../../plugins/weights/ema.js';
import { examples, memoryStore, smallRun, stopAfter, weightsRecorder } from '../support/small-run.js';

/** Evaluations that give these scores, one a step. */
const scores = (values: readonly number[]): Plugin => ({
  name: 'evaluation',
  apply({ hooks }) {
    hooks.onRequest.tap('evaluation', (requests) => ({ ...requests, evaluate: 1 }));
    hooks.onEvaluate.tap('evaluation', (metrics, step) => ({ ...metrics, score: values[step] }));
  },
});

describe('early stopping', () => {
  test('ends one step after the evaluation that was one too many, and goes on counting over a resume', async () => {
    const values = [5, 4, 4.5, 3, 3.1, 3.2, 3.3, 1, 1];
    const plugins = () => smallRun({ steps: 9 }).with(scores(values), earlyStopping({ metric: 'score', patience: 3 }));
    expect(await new Trainer(plugins()).train()).toMatchObject({ step: 8, stopped: true });
    const store = memoryStore(5);
    await new Trainer(plugins().with(store.plugin, stopAfter(5))).train();
    expect(await new Trainer(plugins().with(memoryStore(100, store.snapshots[0]).plugin)).train()).toMatchObject({
      step: 8,
      stopped: true,
    });
  });

  test('a metric that nobody gives is an error with those that there are', async () => {
    await expect(new Trainer(smallRun().with(scores([1]), earlyStopping())).train()).rejects.toThrow(
      /METRIC_MISSING.*loss\.held.*There are: score/,
    );
  });
});

describe('reduce on plateau', () => {
  /** torch 2.13: ReduceLROnPlateau(factor=0.5, patience=1, cooldown=1) over these values; the rate after each. */
  test('reduces as torch does', async () => {
    const values = [5, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3];
    const expected = [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125];
    const seen: number[] = [];
    const watch: Plugin = {
      name: 'watch',
      apply: ({ hooks }) =>
        hooks.onSchedule.tap('watch', (rate) => {
          seen.push(rate);
          return rate;
        }),
    };
    await new Trainer(
      smallRun({ steps: values.length + 1 }).with(
        scores([...values, 3]),
        reduceOnPlateau({ metric: 'score', factor: 0.5, patience: 1, cooldown: 1 }),
        watch,
      ),
    ).train();
    expect(seen.slice(1)).toEqual(expected);
  });
});

/** The linear model's error under noise that belongs to examples: its loss moves with every draw. */
const noisyError = (): Plugin => ({
  name: 'noisy-error',
  fills: OBJECTIVE,
  loss: (context, model, { ids, tensors: { x, y } }) => {
    const noise = ids.flatMap((id) => [...context.draw('noise', id).normals(new Float32Array(2))]);
    return tf.squaredDifference(model.forward(context, { x: x.add(tf.tensor2d(noise, [ids.length, 2])) }), y).mean() as tf.Scalar;
  },
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

test('mistake 16: an evaluation that throws leaves the weights as they are, and the checkpoint before it whole', async () => {
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
