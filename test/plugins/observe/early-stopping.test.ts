import { describe, expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { earlyStopping } from '../../../plugins/observe/early-stopping.js';
import { ema } from '../../../plugins/weights/ema.js';
import { memoryStore, smallRun, stopAfter, weightsRecorder } from '../../support/small-run.js';

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

  test('ends with the weights of the best evaluation where that is wanted, also in a resumed run', async () => {
    const values = [5, 4, 4.5, 3, 3.1, 3.2, 3.3];
    /** The weights after each step, and those that whatever saves at the end finds. */
    const recorder = () => {
      const { plugin, steps } = weightsRecorder();
      const last: number[][] = [];
      const saver: Plugin = {
        name: 'saver',
        after: ['early-stopping'],
        apply: ({ hooks, model }) =>
          hooks.onEnd.tap(() => void last.push(Array.from(model().parameters.get('w')?.variable.dataSync() as Float32Array))),
      };
      return { steps, last, plugins: [plugin, saver] };
    };
    const run = (with_: readonly Plugin[]) =>
      smallRun({ steps: 7 }).with(scores(values), earlyStopping({ metric: 'score', patience: 3, restoreBest: true }), ...with_);
    const [whole, store, rest] = [recorder(), memoryStore(5), recorder()];
    await new Trainer(run([...whole.plugins, store.plugin])).train();
    expect(whole.last).toEqual([whole.steps[3].w]);
    expect(whole.steps[6].w).not.toEqual(whole.steps[3].w);
    await new Trainer(run([...rest.plugins, memoryStore(99, store.snapshots[0]).plugin])).train();
    expect(rest.last).toEqual(whole.last);
  });

  test('the weights of an average are no weights to restore', async () => {
    const both = smallRun().with(scores([1]), earlyStopping({ metric: 'score', restoreBest: true }), ema({ decay: 0.5 }));
    await expect(new Trainer(both).train()).rejects.toThrow(/PLUGIN_CONFLICT.*ema/);
  });

  test('a metric that nobody gives is an error with those that there are', async () => {
    await expect(new Trainer(smallRun().with(scores([1]), earlyStopping())).train()).rejects.toThrow(
      /METRIC_MISSING.*loss\.held.*There are: score/,
    );
  });

  test('a run in which nothing is evaluated, or by another name, is refused before training', async () => {
    await expect(new Trainer(smallRun().with(earlyStopping())).train()).rejects.toThrow(
      /METRIC_MISSING \(early-stopping\).*Nothing is evaluated/,
    );
    const declared: Plugin = { ...scores([1]), metrics: ['score'] } as Plugin;
    await expect(new Trainer(smallRun().with(declared, earlyStopping())).train()).rejects.toThrow(/Evaluations give score/);
  });
});
