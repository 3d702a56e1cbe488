import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { noiseSchedule } from '../../../../plugins/models/stable-diffusion/noise-schedule.js';
import { minSnrWeight } from '../../../../plugins/objectives/losses/min-snr-weight.js';
import { inMemory, readJson } from '../../../../plugins/persist/formats/files.js';
import { relativeGap } from '../../../support/devices.js';
import { fixture } from '../../../support/fixtures.js';

interface Saved {
  /** As diffusers wrote it. */
  text: string;
  clips: boolean;
  alphasCumprod: number[];
  bare: { _class_name: string; beta_schedule?: string; rescale_betas_zero_snr?: boolean };
}
const { files } = JSON.parse(gunzipSync(await fixture('samplers-golden.json.gz')).toString('utf8')) as { files: Saved[] };

/** Reads a file's text as a model's folder is read. */
const read = (text: string) => readJson(inMemory(new Map([['a.json', new TextEncoder().encode(text)]])), 'a.json');

describe('files as each class of diffusers writes them', () => {
  for (const { text, clips, alphasCumprod, bare } of files)
    test(`${bare._class_name} ${bare.beta_schedule ?? ''} ${bare.rescale_betas_zero_snr ? 'without signal at the end' : ''}`, async () => {
      for (const json of [await read(text), bare]) {
        const { config, alphasCumprod: signal } = noiseSchedule(json);
        const each111 = alphasCumprod.map((_, i) => signal[i * 111]);
        // The last of the rescaled ones is 0 here; classes that measure noise by signal put 2^-24 there, and so do samplers.
        if (bare.rescale_betas_zero_snr) expect(each111.pop()).toBe(0);
        expect(relativeGap(each111, alphasCumprod.slice(0, each111.length))).toBeLessThan(1e-6);
        expect(config.clip_sample).toBe(clips);
      }
    });
});

test('a class that does not clip does not by an entry from another', () => {
  expect(noiseSchedule({ _class_name: 'PNDMScheduler', clip_sample: true }).config.clip_sample).toBe(false);
  expect(noiseSchedule({ _class_name: 'DDIMScheduler', clip_sample: null }).config.clip_sample).toBe(false);
});

test('nulls are defaults, unknown entries are left alone, a list of betas is taken as it is', () => {
  const nulls = {
    beta_start: null,
    beta_schedule: null,
    prediction_type: null,
    num_train_timesteps: null,
    timestep_spacing: null,
    of_2031: 'x',
  };
  const { config, alphasCumprod } = noiseSchedule(nulls);
  expect(config).toEqual(noiseSchedule({}).config);
  expect(config.prediction_type).toBe('epsilon');
  expect(alphasCumprod).toHaveLength(1000);
  expect([...noiseSchedule({ trained_betas: [0.5, 0.5], num_train_timesteps: 2 }).alphasCumprod]).toEqual([0.5, 0.25]);
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
  const refused: [json: object, message: RegExp][] = [
    [
      { _class_name: 'FlowMatchEulerDiscreteScheduler' },
      /the scheduler FlowMatchEulerDiscreteScheduler is not supported.*EulerDiscreteScheduler/s,
    ],
    [{ _class_name: 'constructor' }, /the scheduler constructor/],
    [{ _class_name: 7 }, /the scheduler 7/],
    [{ beta_schedule: 'sigmoid' }, /beta_schedule/],
    [{ prediction_type: 'flow_prediction' }, /prediction_type/],
    [{ use_flow_sigmas: true }, /use_flow_sigmas/],
    [{ thresholding: true }, /thresholding/],
    [{ timestep_type: 'continuous' }, /timestep_type/],
    [{ variance_type: 'learned_range' }, /variance_type: learned variances/],
    [{ num_train_timesteps: 1e9 }, /num_train_timesteps/],
    [{ steps_offset: -1 }, /steps_offset/],
    [{ beta_end: 2 }, /beta_end/],
    [{ trained_betas: [] }, /trained_betas/],
    [{ trained_betas: [0.1, 0.2] }, /trained_betas has 2 entries, num_train_timesteps is 1000/],
  ];
  for (const [json, message] of refused) {
    expect(() => noiseSchedule(json)).toThrow(/UNSUPPORTED_OPTION/);
    expect(() => noiseSchedule(json)).toThrow(message);
  }
});
