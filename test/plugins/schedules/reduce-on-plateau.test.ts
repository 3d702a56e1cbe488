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
});
