import { expect, test } from 'vitest';
import { type Model, makeContext, type Wrap } from '../../core/index.js';
import * as tf from '../../core/tf.js';

const modelWith = (...wraps: Wrap[]): Model => ({
  parameters: new Map(),
  modules: new Map(),
  wraps: new Map(wraps.length > 0 ? [['part', wraps]] : []),
  forward: () => tf.scalar(0),
});
const handsOn: Wrap = Object.assign((...[, inputs, next]: Parameters<Wrap>) => next(inputs), { handsOnRest: true });

test('what a module adds to its result is added once, whatever its wraps hand on', async () => {
  const double: Wrap = (_, [x], next) => next([x.mul(2)]);
  for (const [wraps, expected, given] of [
    [[], 13, 2],
    [[handsOn], 13, 2],
    // One that was written for a single input loses nothing.
    [[double], 16, 1],
    [[handsOn, double], 16, 1],
  ] as const) {
    const context = makeContext(modelWith(...wraps), { mode: 'evaluate', parameters: {} });
    let inputs = 0;
    const result = tf.tidy(() =>
      context.module(
        'part',
        [tf.scalar(3)],
        (all) => {
          inputs = all.length;
          return all.length === 2 ? all[0].add(all[1]) : all[0];
        },
        tf.scalar(10),
      ),
    );
    expect((await result.data())[0]).toBe(expected);
    expect(inputs).toBe(given);
    result.dispose();
  }
});
