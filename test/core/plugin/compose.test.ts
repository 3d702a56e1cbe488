import { inject, injectable } from 'tsyringe';
import { describe, expect, test } from 'vitest';
import { compose, type Host, OPTIMIZER, type Plugin, RUN, type RunOptions, SCHEDULE, SteploomError, Trainer } from '../../../core/index.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { cosine } from '../../../plugins/schedules/cosine.js';
import { linear } from '../../../plugins/schedules/linear.js';
import { warmup } from '../../../plugins/schedules/warmup.js';
import { smallRun, weightsRecorder } from '../../support/small-run.js';

const names = (plugins: Iterable<{ name: string }>) => [...plugins].map((p) => p.name);
const codes = async (work: () => unknown): Promise<string[]> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof SteploomError) return error.problems.map((p) => p.code);
    throw error;
  }
  return [];
};
const explained = async (plugins: ConstructorParameters<typeof Trainer>[0]) => {
  const trainer = new Trainer(plugins, { warn: () => undefined });
  try {
    return await trainer.explain();
  } finally {
    await trainer.dispose();
  }
};

describe('composing', () => {
  test('with() replaces what fills the role, else what has the name, in its place', () => {
    const base = compose(...smallRun(), cosine(), warmup());
    const swapped = base.with(sgd(), linear(), warmup());
    expect(names(swapped as never)).toEqual(['run', 'cpu', 'linear-model', 'arrays', 'squared-error', 'sgd', 'linear', 'warmup']);
    expect(names(base as never)).toContain('adamw');
  });

  test('without() leaves out by name and names what there is', () => {
    expect(names(compose(...smallRun(), warmup()).without('warmup') as never)).not.toContain('warmup');
    expect(() => smallRun().without('emma')).toThrow(/PLUGIN_MISSING.*There are: run, cpu/);
  });

  test('two plugins for one role in one call are ROLE_TAKEN', async () => {
    expect(await codes(() => smallRun().with(linear(), cosine()))).toEqual(['ROLE_TAKEN']);
    expect(await codes(() => explained(compose(...smallRun(), linear(), cosine())))).toEqual(['ROLE_TAKEN']);
  });

  test('all problems are reported together', async () => {
    const needy: Plugin = { name: 'needy', requires: ['absent', SCHEDULE] };
    const rival: Plugin = { name: 'rival', conflicts: ['needy'] };
    const badly = { name: 'badly', fills: OPTIMIZER } as unknown as Plugin;
    const list = compose(...smallRun().without('adamw', 'arrays'), needy, rival, badly, { name: 'rival' });
    expect((await codes(() => explained(list))).sort()).toEqual([
      'NAME_TAKEN',
      'PLUGIN_CONFLICT',
      'PLUGIN_MISSING',
      'ROLE_MISSING',
      'ROLE_SHAPE',
    ]);
  });

  test('plugins are sorted by requires and after, ties in the order given', async () => {
    const a: Plugin = { name: 'a', after: ['c', 'absent'] };
    const b: Plugin = { name: 'b', requires: [OPTIMIZER] };
    const { plugins } = await explained(compose(a, b, ...smallRun(), { name: 'c' }));
    expect(plugins.map((p) => p.name)).toEqual(['run', 'cpu', 'linear-model', 'arrays', 'squared-error', 'adamw', 'b', 'c', 'a']);
  });

  test('a cycle is named', async () => {
    expect(await codes(() => explained(compose(...smallRun(), { name: 'a', after: ['b'] }, { name: 'b', after: ['a'] })))).toEqual([
      'PLUGIN_CYCLE',
    ]);
  });

  test('a plugin object belongs to one run', async () => {
    const recorder = weightsRecorder().plugin;
    await explained(compose(...smallRun(), recorder));
    expect(await codes(() => explained(compose(...smallRun(), recorder)))).toEqual(['PLUGIN_REUSED']);
  });

  test('a class plugin is one instance, given roles by tsyringe, standing for its role', async () => {
    const made: unknown[] = [];
    @injectable()
    class Halving {
      static plugin = { name: 'halving', fills: SCHEDULE };
      constructor(@inject(RUN as symbol) private readonly options: RunOptions) {
        made.push(this);
      }
      apply({ hooks, resolve }: Host) {
        expect(resolve(SCHEDULE)).toBe(this);
        hooks.onSchedule.tap('halving', (rate) => (rate * this.options.learningRate) / 0.1);
      }
    }
    const { learningRates } = await explained(compose(...smallRun({ learningRate: 0.05 }), Halving));
    expect(made).toHaveLength(1);
    expect(learningRates?.[0].rates.main).toBeCloseTo(0.025, 12);
  });

  test('bad run options, an unknown group and an unusual length end before training', async () => {
    expect(await codes(() => explained(smallRun({ learningRate: Number.NaN, seed: 0.5, steps: 0 })))).toEqual([
      'RUN_INVALID',
      'RUN_INVALID',
      'RUN_INVALID',
    ]);
    expect(await codes(() => explained(smallRun({ warmupSteps: 7 })))).toEqual(['WARMUP_TOO_LONG']);
    expect(await codes(() => explained(smallRun({ groups: { nobody: {} } })))).toEqual(['GROUP_UNKNOWN']);
    expect(await codes(() => explained(smallRun({ steps: undefined }).with(cosine())))).toEqual(['SCHEDULE_LENGTH_UNKNOWN']);
    expect(await codes(() => explained(smallRun({ items: 0 })))).toEqual(['PLAN_EMPTY']);
  });
});
