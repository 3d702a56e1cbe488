import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { OBJECTIVE, type Plugin, Trainer } from '../../../core/index.js';
import { arrays } from '../../../plugins/data/arrays.js';
import { evaluation } from '../../../plugins/observe/evaluation.js';
import { ema } from '../../../plugins/weights/ema.js';
import { examples, memoryStore, smallRun, weightsRecorder } from '../../support/small-run.js';

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

test('a stop that is asked for in the middle of an evaluation ends it, and its metrics are no numbers', async () => {
  const abort = new AbortController();
  let loaded = 0;
  const data = arrays(examples(40), { batchSize: 1, shuffle: false });
  const watched = {
    ...data,
    open: async () => {
      const source = await data.open();
      return {
        ...source,
        load: (...given: Parameters<typeof source.load>) => {
          if (++loaded === 3) abort.abort();
          return source.load(...given);
        },
      };
    },
  } as typeof data;
  const seen: number[] = [];
  const watch: Plugin = {
    name: 'watch',
    after: ['evaluation'],
    apply: ({ hooks }) =>
      hooks.onEvaluate.tap((metrics) => {
        seen.push(metrics['loss.held']);
        return metrics;
      }),
  };
  const result = await new Trainer(smallRun({ steps: 50 }).with(evaluation(watched, { every: 2 }), watch)).train({ signal: abort.signal });
  expect([loaded, seen, result.stopped, result.asked]).toEqual([3, [Number.NaN], true, true]);
});
