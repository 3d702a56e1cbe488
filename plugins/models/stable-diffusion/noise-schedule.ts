import { z } from 'zod';
import { fail } from '../../../core/index.js';
import { parseConfig } from '../layers/parse-config.js';

/** What scheduler/scheduler_config.json says that training and sampling need; its other entries matter to diffusers alone. */
const schema = z.object({
  num_train_timesteps: z.number().int().positive().max(100_000).default(1000),
  beta_start: z.number().positive().default(0.0001),
  beta_end: z.number().positive().default(0.02),
  beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2']).default('linear'),
  prediction_type: z.enum(['epsilon', 'v_prediction', 'sample']).default('epsilon'),
  rescale_betas_zero_snr: z.boolean().default(false),
  trained_betas: z.null('only null is supported').optional(),
  thresholding: z.literal(false, 'only false is supported').optional(),
  clip_sample: z.boolean().default(true),
  clip_sample_range: z.number().positive().default(1),
  set_alpha_to_one: z.boolean().default(true),
  steps_offset: z.number().int().default(0),
  timestep_spacing: z.enum(['leading', 'trailing', 'linspace']).default('leading'),
});

export type NoiseConfig = z.input<typeof schema>;
export type PredictionType = z.output<typeof schema>['prediction_type'];

/** A diffusion process: how much signal is left at each step t. */
export interface NoiseSchedule {
  readonly config: z.output<typeof schema>;
  /** The cumulative product of 1 - beta, by t. */
  readonly alphasCumprod: Float64Array;
}

/** Beta schedules as diffusers has them: linear, scaled_linear (in the square root), squaredcos_cap_v2 (Nichol and Dhariwal 2021). */
export function noiseSchedule(json: object, where = 'scheduler/scheduler_config.json'): NoiseSchedule {
  const config = parseConfig(schema, json, 'noise-schedule', where);
  const count = config.num_train_timesteps;
  const along = (i: number, from: number, to: number) => (count === 1 ? from : from + ((to - from) * i) / (count - 1));
  const left = (t: number) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  const beta = (i: number): number => {
    if (config.beta_schedule === 'linear') return along(i, config.beta_start, config.beta_end);
    if (config.beta_schedule === 'scaled_linear') return along(i, Math.sqrt(config.beta_start), Math.sqrt(config.beta_end)) ** 2;
    return Math.min(1 - left((i + 1) / count) / left(i / count), 0.999);
  };
  const alphasCumprod = new Float64Array(count);
  let product = 1;
  for (let i = 0; i < count; i++) alphasCumprod[i] = product *= 1 - beta(i);
  if (config.rescale_betas_zero_snr) {
    // Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", algorithm 1.
    const roots = alphasCumprod.map(Math.sqrt);
    const [first, last] = [roots[0], roots[count - 1]];
    for (let i = 0; i < count; i++) alphasCumprod[i] = (((roots[i] - last) * first) / (first - last)) ** 2;
    if (config.prediction_type === 'epsilon')
      fail(
        'UNSUPPORTED_OPTION',
        'noise-schedule',
        `${where}: rescale_betas_zero_snr with epsilon prediction loses the image at the last step`,
        'Use v_prediction or sample.',
      );
  }
  return { config, alphasCumprod };
}
