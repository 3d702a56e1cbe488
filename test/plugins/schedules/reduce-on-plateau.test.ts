import { describe, expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../core/index.js';
import { reduceOnPlateau } from '../../../plugins/schedules/reduce-on-plateau.js';
import { smallRun } from '../../support/small-run.js';

/** Evaluations that give these scores, one a step. */
const scores = (values: readonly number[]): Plugin => ({
  name: 'evaluation',
  apply({ hooks }) {
    hooks.onRequest.tap('evaluation', (requests) => ({ ...requests, evaluate: 1 }));
    hooks.onEvaluate.tap('evaluation', (metrics, step) => ({ ...metrics, score: values[step] }));
  },
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

  test('NaN and infinity are never better, also as the first value (torch: rates 1, 0.5, 0.5, 0.5)', async () => {
    for (const strange of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const seen: number[] = [];
      const watch: Plugin = {
        name: 'watch',
        apply: ({ hooks }) =>
          hooks.onSchedule.tap((rate) => {
            seen.push(rate);
            return rate;
          }),
      };
      const values = [strange, strange, 2, 1, 0.5];
      await new Trainer(
        smallRun({ steps: values.length }).with(scores(values), reduceOnPlateau({ metric: 'score', factor: 0.5, patience: 1 }), watch),
      ).train();
      expect(seen).toEqual([1, 1, 0.5, 0.5, 0.5]);
    }
  });

  test('a run without evaluation is refused before training', async () => {
    await expect(new Trainer(smallRun().with(reduceOnPlateau())).train()).rejects.toThrow(
      /METRIC_MISSING \(reduce-on-plateau\).*Nothing is evaluated/,
    );
  });
});
