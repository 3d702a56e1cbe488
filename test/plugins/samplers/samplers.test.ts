import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import * as tf from '../../../core/tf.js';
import { type NoiseConfig, noiseSchedule } from '../../../plugins/models/stable-diffusion/noise-schedule.js';
import { ddim } from '../../../plugins/samplers/ddim.js';
import { dpmSolverPlusPlus } from '../../../plugins/samplers/dpm-solver-plus-plus.js';
import { euler } from '../../../plugins/samplers/euler.js';
import { eulerAncestral } from '../../../plugins/samplers/euler-ancestral.js';
import { rescaled } from '../../../plugins/samplers/walk/guidance.js';
import type { Sampler } from '../../../plugins/samplers/walk/sampler.js';
import { relativeGap } from '../../support/devices.js';
import { fixture } from '../../support/fixtures.js';

interface Golden {
  start: number[];
  cases: {
    sampler: string;
    config: NoiseConfig;
    steps: number;
    call: { use_clipped_model_output?: boolean; eta?: number };
    timesteps: number[];
    scale: number;
    first: number[];
    last: number[];
  }[];
  timesteps: Record<string, [steps: number, sum: number][]>;
  rescaled: { guided: number[]; wanted: number[]; share: number; result: number[] };
}
const golden = JSON.parse(gunzipSync(await fixture('samplers-golden.json.gz')).toString('utf8')) as Golden;
const NCHW: [number, number, number, number] = [1, 2, 4, 4];

beforeAll(() => tf.setBackend('cpu'));

const SAMPLERS: Record<string, (call: Golden['cases'][number]['call']) => Sampler> = {
  ddim: ({ use_clipped_model_output, eta }) =>
    ddim({ ...(eta === undefined ? {} : { eta }), useClippedModelOutput: use_clipped_model_output ?? false }),
  'dpm-solver++': () => dpmSolverPlusPlus(),
  euler: () => euler(),
  'euler-ancestral': () => eulerAncestral(),
};

describe('walks of diffusers’ schedulers', () => {
  for (const [i, c] of golden.cases.entries())
    test(`${i}: ${c.sampler} ${c.steps} ${JSON.stringify({ ...c.config, ...c.call })}`, () => {
      const before = tf.memory().numTensors;
      const walk = SAMPLERS[c.sampler](c.call).walk(noiseSchedule(c.config), c.steps);
      expect(relativeGap(walk.timesteps, c.timesteps)).toBeLessThan(1e-5);
      expect(relativeGap([walk.initialSigma], [c.scale])).toBeLessThan(1e-5);
      let sample = tf.tidy(() => tf.tensor4d(golden.start, NCHW).mul<tf.Tensor4D>(walk.initialSigma));
      for (const [index, t] of walk.timesteps.entries()) {
        const next = tf.tidy(() => {
          const seen = sample.mul(walk.inputScale(index));
          const prediction = seen
            .add(0.001 * t)
            .sin()
            .mul(0.5)
            .add(seen.mul(0.1)) as tf.Tensor4D;
          return walk.step(prediction, index, sample, () => tf.tensor4d(golden.start, NCHW).mul(7).add(index).cos() as tf.Tensor4D);
        });
        sample.dispose();
        sample = next;
        if (index === 0) expect(relativeGap(sample.dataSync(), c.first)).toBeLessThan(1e-5);
      }
      expect(relativeGap(sample.dataSync(), c.last)).toBeLessThan(1e-5);
      sample.dispose();
      walk.dispose();
      expect(tf.memory().numTensors).toBe(before);
    });
});

test('timesteps are diffusers’ for every number of steps', () => {
  for (const [name, sums] of Object.entries(golden.timesteps)) {
    const [sampler, spacing] = name.split(' ');
    const schedule = noiseSchedule({ timestep_spacing: spacing as 'leading', prediction_type: 'v_prediction' });
    for (const [steps, sum] of sums) {
      const { timesteps } = SAMPLERS[sampler]({}).walk(schedule, steps);
      expect(Math.abs(timesteps.reduce((all, t, i) => all + ((i % 13) + 1) * t, 0) - sum) / (sum + 1), `${name} ${steps}`).toBeLessThan(
        spacing === 'linspace' ? 1e-6 : 1e-12,
      );
    }
  }
});

test('guidance is rescaled as in diffusers', () => {
  const { guided, wanted, share, result } = golden.rescaled;
  const shape: [number, number, number, number] = [2, 2, 4, 4];
  const data = tf.tidy(() => rescaled(tf.tensor4d(guided, shape), tf.tensor4d(wanted, shape), share).dataSync());
  expect(relativeGap(data, result)).toBeLessThan(1e-6);
});

test('a sampler’s options win over the file, and what the file leaves out has the sampler’s default', () => {
  const first = (sampler: Sampler, config: NoiseConfig) => sampler.walk(noiseSchedule(config), 10).timesteps[0];
  expect(first(ddim(), {})).toBe(900);
  expect(first(dpmSolverPlusPlus(), {})).toBe(999);
  expect(first(dpmSolverPlusPlus(), { timestep_spacing: 'leading' })).toBe(900);
  expect(first(ddim({ spacing: 'trailing' }), { timestep_spacing: 'leading' })).toBe(999);
  const second = (karras: boolean | undefined, config: NoiseConfig) =>
    euler(karras === undefined ? {} : { karras }).walk(noiseSchedule(config), 10).timesteps[1];
  expect(second(undefined, { use_karras_sigmas: true })).toBeCloseTo(second(true, {}), 10);
  expect(second(false, { use_karras_sigmas: true })).toBe(888);
});

test('an image is clipped by ddim() alone, where the noise schedule says so', () => {
  const drawn = (sampler: Sampler, config: NoiseConfig) =>
    tf.tidy(() => {
      const walk = sampler.walk(noiseSchedule({ ...config, prediction_type: 'sample' }), 1);
      return walk.step(tf.fill([1, 1, 1, 1], 3), 0, tf.zeros([1, 1, 1, 1]), () => tf.zeros([1, 1, 1, 1])).dataSync()[0];
    });
  expect(drawn(ddim(), { clip_sample: true })).toBe(1);
  expect(drawn(ddim(), { clip_sample: false })).toBe(3);
  expect(drawn(ddim(), { _class_name: 'EulerDiscreteScheduler', clip_sample: true })).toBe(3);
  expect(drawn(euler(), { clip_sample: true })).toBe(3);
});

test('faults are named', () => {
  expect(() => ddim().walk(noiseSchedule({}), 0)).toThrow(/steps is 0.*from 1 to/);
  expect(() => ddim({ eta: -1 }).walk(noiseSchedule({}), 5)).toThrow(/eta is -1/);
  expect(() => ddim().walk(noiseSchedule({ steps_offset: 1 }), 1000)).toThrow(/begin at timestep 1000, past the last, 999/);
  const flat: NoiseConfig = { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' };
  expect(() => ddim().walk(noiseSchedule(flat), 5)).toThrow(/UNSUPPORTED_OPTION \(ddim\).*no signal/);
  expect(ddim({ spacing: 'leading' }).walk(noiseSchedule(flat), 5).timesteps).toHaveLength(5);
  const other = noiseSchedule({ use_lu_lambdas: true });
  expect(() => dpmSolverPlusPlus().walk(other, 5)).toThrow(/use_lu_lambdas/);
  expect(dpmSolverPlusPlus({ karras: true }).walk(other, 5).timesteps).toHaveLength(5);
});
