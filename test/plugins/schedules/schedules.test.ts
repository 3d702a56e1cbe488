import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Plugin, ScheduleInput } from '../../../core/index.js';
import { compose, Trainer } from '../../../core/index.js';
import { constant } from '../../../plugins/schedules/constant.js';
import { cosine } from '../../../plugins/schedules/cosine.js';
import { inverseSqrt } from '../../../plugins/schedules/inverse-sqrt.js';
import { linear } from '../../../plugins/schedules/linear.js';
import { oneCycle } from '../../../plugins/schedules/one-cycle.js';
import { piecewiseConstant } from '../../../plugins/schedules/piecewise-constant.js';
import { polynomial } from '../../../plugins/schedules/polynomial.js';
import { sequence } from '../../../plugins/schedules/sequence.js';
import { warmup } from '../../../plugins/schedules/warmup.js';
import { warmupStableDecay } from '../../../plugins/schedules/warmup-stable-decay.js';
import { type ScheduleName, scheduleByName } from '../../../presets/common/schedules.js';
import { smallRun } from '../../support/small-run.js';

interface Case {
  name: ScheduleName;
  through: 'function' | 'get_scheduler';
  params: {
    num_warmup_steps?: number;
    num_training_steps?: number;
    num_cycles?: number;
    power?: number;
    lr_end?: number;
    step_rules?: string;
  };
  baseLearningRate: number;
  steps: number[];
  learningRates: number[];
}
const { cases } = JSON.parse(readFileSync(new URL('../../fixtures/schedules-golden.json', import.meta.url), 'utf8')) as { cases: Case[] };

/** The learning rate of a list of schedule plugins, as the core asks for it. */
function rates(plugins: readonly Plugin[], input: Omit<ScheduleInput, 'step' | 'group' | 'metrics'>) {
  const taps: ((rate: number, input: ScheduleInput) => number)[] = [];
  const hooks = {
    validate: { tap: () => undefined },
    onSchedule: { tap: (...given: unknown[]) => void taps.push(given.at(-1) as (typeof taps)[0]) },
  };
  for (const plugin of plugins) plugin.apply?.({ hooks } as never);
  return (step: number) =>
    input.baseLearningRate * taps.reduce((rate, tap) => tap(rate, { ...input, step, group: 'main', metrics: {} }), 1);
}

describe('diffusers’ golden values', () => {
  for (const [i, c] of cases.entries()) {
    const { params } = c;
    test(`${i}: ${c.name} ${c.through} ${JSON.stringify(params)} from ${c.baseLearningRate}`, () => {
      const byName = c.through === 'get_scheduler';
      // get_scheduler drops num_cycles for cosine and lr_end for polynomial; ours take them, so they are not given here.
      const rate = rates(
        scheduleByName(c.name, {
          cycles: byName && c.name === 'cosine' ? undefined : params.num_cycles,
          power: params.power,
          end: params.lr_end,
          rules: params.step_rules,
        }),
        { warmupSteps: params.num_warmup_steps ?? 0, totalSteps: params.num_training_steps ?? 0, baseLearningRate: c.baseLearningRate },
      );
      for (const [j, step] of c.steps.entries()) {
        // Past the end of the run diffusers' cosine rises again; ours stays.
        if (c.name === 'cosine' && step > (params.num_training_steps ?? 0)) continue;
        expect(Math.abs(rate(step) - c.learningRates[j]), `step ${step}`).toBeLessThan(1e-6 * c.baseLearningRate);
      }
    });
  }
});

describe('golden values of whole runs', () => {
  const input = { warmupSteps: 3, totalSteps: 10, baseLearningRate: 1 };
  const head = [0, 0.333333, 0.666667, 1];
  test.each([
    ['linear', linear(), [0.857143, 0.714286, 0.571429, 0.428571, 0.285714, 0.142857, 0]],
    ['cosine', cosine(), [0.950484, 0.811745, 0.61126, 0.38874, 0.188255, 0.049516, 0]],
    ['polynomial', polynomial({ power: 2 }), [0.734694, 0.510204, 0.326531, 0.183674, 0.081633, 0.020408, 0]],
  ])('%s', (_, plugin, tail) => {
    const rate = rates([plugin, warmup()], input);
    for (const [step, expected] of [...head, ...tail].entries()) expect(Math.abs(rate(step) - expected)).toBeLessThan(1e-6);
  });
});

describe('beyond diffusers', () => {
  const input = { warmupSteps: 10, totalSteps: 100, baseLearningRate: 2 };
  test('cosine stays where it ended', () => {
    expect(rates([cosine(), warmup()], input)(150)).toBe(0);
    expect(rates([cosine({ cycles: 1 })], input)(150)).toBeCloseTo(2, 12);
  });
  test('inverseSqrt falls as 1 / sqrt from the knee', () => {
    const rate = rates([inverseSqrt(), warmup()], input);
    expect([rate(5), rate(10), rate(40)]).toEqual([1, 2, 1]);
  });
  test('warmupStableDecay stays, then decays over its last steps', () => {
    const rate = rates([warmupStableDecay({ decay: 20 }), warmup()], input);
    expect([rate(5), rate(10), rate(80), rate(90), rate(100)]).toEqual([1, 2, 2, 1, 0]);
  });
  test('oneCycle rises from base / 25 and ends at that / 10,000', () => {
    const rate = rates([oneCycle()], { ...input, warmupSteps: 0 });
    expect(rate(0)).toBeCloseTo(2 / 25, 12);
    expect(rate(29)).toBeCloseTo(2, 12);
    expect(rate(99)).toBeCloseTo(2 / 25 / 1e4, 12);
  });
  test('a sequence counts each part from 0', () => {
    const rate = rates([sequence([constant(), 50], [linear()]), warmup()], input);
    expect([rate(5), rate(30), rate(50), rate(75), rate(99)]).toEqual([1, 2, 2, 1, 2 / 50]);
  });
  test('a sequence within a run of restarts restarts', () => {
    const rate = rates([sequence([cosine(), 20], [cosine(), 20], [cosine()])], { ...input, warmupSteps: 0 });
    expect([rate(0), rate(20), rate(40)]).toEqual([2, 2, 2]);
    expect(rate(19)).toBeLessThan(0.05);
  });
  test('a user’s scheduler of three lines', () => {
    const halving: Plugin = {
      name: 'halving',
      apply: ({ hooks }) => hooks.onSchedule.tap('halving', (rate, { step }) => rate / 2 ** Math.floor(step / 10)),
    };
    expect([0, 10, 25].map(rates([halving], { ...input, warmupSteps: 0 }))).toEqual([2, 1, 0.5]);
  });
});

describe('errors', () => {
  const problems = async (plugin: Plugin, learningRate = 0.1) =>
    (await new Trainer(compose(...smallRun({ learningRate }), plugin), {}).train().catch((error) => error)).message as string;
  test('an unknown name lists the known ones', () =>
    expect(() => scheduleByName('cosin' as ScheduleName)).toThrow(/OPTION_INVALID.*linear, cosine/));
  test('rules without a trailing value, that are no pairs or no numbers, or fall', async () => {
    const faults: [rules: string, message: RegExp][] = [
      ['1:10,0.1:20', /without a value for the rest/],
      ['1:x,0.1', /"x", which is no number/],
      ['1,0.1', /hold "1", which is no pair/],
      ['1:2:3,0.1', /hold "1:2:3", which is no pair/],
      ['1:20,0.5:10,0.1', /do not rise/],
    ];
    for (const [rules, message] of faults) {
      const said = await problems(piecewiseConstant(rules));
      expect(said).toMatch(/OPTION_INVALID \(piecewise-constant\)/);
      expect(said).toMatch(message);
    }
    expect(() => scheduleByName('piecewise_constant')).toThrow(/OPTION_MISSING/);
  });
  test('a base rate at or below the end', async () =>
    expect(await problems(polynomial({ end: 0.1 }))).toMatch(/end rate 0.1 is not below the learning rate 0.1/));
  test('what is wrong with a schedule within a sequence, all at once', async () => {
    const said = await problems(sequence([polynomial({ end: 0.1 }), 4], [piecewiseConstant('1:x,0.1')]));
    expect(said).toMatch(/\(polynomial\).*end rate 0.1/);
    expect(said).toMatch(/OPTION_INVALID \(piecewise-constant\)/);
  });
  test('a sequence without lengths', async () =>
    expect(await problems(sequence([linear()], [cosine()]))).toMatch(/part 1 has undefined steps/));
});
