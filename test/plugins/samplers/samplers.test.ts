import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { noiseSchedule } from '../../../plugins/models/stable-diffusion/noise-schedule.js';
import { minSnrWeight } from '../../../plugins/objectives/losses/min-snr-weight.js';
import { ddim } from '../../../plugins/samplers/ddim.js';
import { dpmSolverPlusPlus } from '../../../plugins/samplers/dpm-solver-plus-plus.js';
import { relativeGap } from '../../support/devices.js';

interface Golden {
  start: number[];
  alphasCumprodEvery111: Record<string, number[]>;
  cases: {
    sampler: string;
    config: object;
    steps: number;
    call: { use_clipped_model_output?: boolean };
    timesteps: number[];
    first: number[];
    last: number[];
  }[];
}
const golden = JSON.parse(readFileSync(new URL('../../fixtures/samplers-golden.json', import.meta.url), 'utf8')) as Golden;
const NCHW: [number, number, number, number] = [1, 2, 4, 4];

describe('walks of diffusers’ schedulers', () => {
  for (const [i, c] of golden.cases.entries())
    test(`${i}: ${c.sampler} ${c.steps} ${JSON.stringify(c.config)}`, () => {
      // diffusers' multistep solver spaces its timesteps linearly unless told.
      const schedule = noiseSchedule({ ...(c.sampler === 'ddim' ? {} : { timestep_spacing: 'linspace' }), ...c.config });
      const sampler = c.sampler === 'ddim' ? ddim({ useClippedModelOutput: c.call.use_clipped_model_output }) : dpmSolverPlusPlus();
      const before = tf.memory().numTensors;
      const walk = sampler.walk(schedule, c.steps);
      expect(walk.timesteps).toEqual(c.timesteps);
      let sample = tf.tensor4d(golden.start, NCHW);
      for (const [index, t] of walk.timesteps.entries()) {
        const next = tf.tidy(() => {
          const prediction = tf
            .sin(sample.add(0.001 * t))
            .mul(0.5)
            .add(sample.mul(0.1)) as tf.Tensor4D;
          return walk.step(prediction, index, sample, () => tf.zerosLike(sample));
        });
        sample.dispose();
        sample = next;
        if (index === 0) expect(relativeGap(sample.dataSync(), c.first)).toBeLessThan(1e-4);
      }
      expect(relativeGap(sample.dataSync(), c.last)).toBeLessThan(2e-3);
      sample.dispose();
      walk.dispose();
      expect(tf.memory().numTensors).toBe(before);
    });
});

test('the signal left at each step is diffusers’', () => {
  for (const [name, values] of Object.entries(golden.alphasCumprodEvery111)) {
    const [beta_schedule, rescaled] = name.split(' ');
    const { alphasCumprod } = noiseSchedule({
      beta_schedule,
      rescale_betas_zero_snr: rescaled !== undefined,
      prediction_type: 'v_prediction',
    });
    expect(
      relativeGap(
        values.map((_, i) => alphasCumprod[i * 111]),
        values,
      ),
    ).toBeLessThan(1e-5);
    if (rescaled) expect(alphasCumprod[999]).toBe(0);
  }
});

test('min-SNR weights', () => {
  const abar = (snr: number) => snr / (1 + snr);
  expect(minSnrWeight(abar(10), 5, 'epsilon')).toBeCloseTo(0.5, 10);
  expect(minSnrWeight(abar(2), 5, 'epsilon')).toBeCloseTo(1, 10);
  expect(minSnrWeight(abar(9), 5, 'v_prediction')).toBeCloseTo(0.5, 10);
  expect(minSnrWeight(abar(9), 5, 'sample')).toBeCloseTo(5, 10);
  expect(minSnrWeight(0, 5, 'epsilon')).toBe(1);
});

test('faults are named', () => {
  expect(() => noiseSchedule({ beta_schedule: 'sigmoid' })).toThrow(/UNSUPPORTED_OPTION.*beta_schedule/);
  expect(() => noiseSchedule({ rescale_betas_zero_snr: true })).toThrow(/loses the image/);
  expect(() => ddim().walk(noiseSchedule({}), 0)).toThrow(/steps is 0.*from 1 to/);
  expect(() => ddim({ eta: -1 }).walk(noiseSchedule({}), 5)).toThrow(/eta is -1/);
});
