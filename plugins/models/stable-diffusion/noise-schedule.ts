import { z } from 'zod';
import { fail } from '../../../core/index.js';
import { flag, off, only, parseConfig } from '../layers/parse-config.js';

/** What is common to the classes of schedulers in diffusers: their own defaults, and whether they clip predicted images. */
const USUAL = { beta_start: 0.0001, beta_end: 0.02, beta_schedule: 'linear', clips: false, clip_sample: false };
const NARROW = { ...USUAL, beta_start: 0.00085, beta_end: 0.012 };

/** The classes that draw with a model of this kind, and where they differ. What else a class has is the affair of its own way to draw. */
const CLASSES: Readonly<Record<string, typeof USUAL>> = {
  DDPMScheduler: { ...USUAL, clips: true, clip_sample: true },
  DDIMScheduler: { ...USUAL, clips: true, clip_sample: true },
  PNDMScheduler: USUAL,
  LMSDiscreteScheduler: USUAL,
  EulerDiscreteScheduler: USUAL,
  EulerAncestralDiscreteScheduler: USUAL,
  HeunDiscreteScheduler: { ...NARROW, clips: true },
  KDPM2DiscreteScheduler: NARROW,
  KDPM2AncestralDiscreteScheduler: NARROW,
  DPMSolverMultistepScheduler: USUAL,
  DPMSolverSinglestepScheduler: USUAL,
  DEISMultistepScheduler: USUAL,
  UniPCMultistepScheduler: USUAL,
  LCMScheduler: { ...NARROW, beta_schedule: 'scaled_linear', clips: true },
};

const MOST_TIMESTEPS = 100_000;

/** An entry that is null has its default, as one that is not there. */
const orDefault = <T extends z.ZodType, D extends z.output<T> | undefined>(schema: T, value: D) =>
  schema.nullish().transform((given) => (given ?? value) as z.output<T> | D);

/** What a denoiser may predict. */
export const PREDICTION_TYPES = ['epsilon', 'v_prediction', 'sample'] as const;

const schema = z.object({
  num_train_timesteps: orDefault(z.number().int().positive().max(MOST_TIMESTEPS), 1000),
  beta_start: z.number().positive().max(1),
  beta_end: z.number().positive().max(1),
  beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2']),
  /** In place of a beta_schedule. */
  trained_betas: orDefault(z.array(z.number().positive().max(1)).min(1).max(MOST_TIMESTEPS), undefined),
  prediction_type: orDefault(z.enum(PREDICTION_TYPES), 'epsilon'),
  rescale_betas_zero_snr: flag(false),
  clip_sample: flag(false),
  clip_sample_range: orDefault(z.number().positive(), 1),
  steps_offset: orDefault(z.number().int().min(0).max(MOST_TIMESTEPS), 0),
  // What samplers take from a file where they know it; where it is left out, each has a default of its own.
  timestep_spacing: orDefault(z.enum(['leading', 'trailing', 'linspace']), undefined),
  set_alpha_to_one: flag(true),
  use_karras_sigmas: flag(false),
  use_exponential_sigmas: flag(false),
  use_beta_sigmas: flag(false),
  use_lu_lambdas: flag(false),
  interpolation_type: orDefault(z.string(), 'linear'),
  sigma_min: orDefault(z.number().positive(), undefined),
  sigma_max: orDefault(z.number().positive(), undefined),
  final_sigmas_type: orDefault(z.enum(['zero', 'sigma_min']), 'zero'),
  lower_order_final: flag(true),
  euler_at_final: flag(false),
  lambda_min_clipped: orDefault(z.number().or(z.literal(Number.NEGATIVE_INFINITY)), Number.NEGATIVE_INFINITY),
  // These would change what a prediction means.
  thresholding: off(),
  use_flow_sigmas: off(),
  timestep_type: only('discrete', null),
  variance_type: z.custom((type) => type !== 'learned' && type !== 'learned_range', 'learned variances are not supported').optional(),
});

/** The entries of a scheduler_config.json that are understood; others are left alone. */
export type NoiseConfig = Partial<z.input<typeof schema>> & { readonly _class_name?: string };
export type PredictionType = (typeof PREDICTION_TYPES)[number];

/** A diffusion process: how much signal is left at each step t. */
export interface NoiseSchedule {
  readonly config: z.output<typeof schema>;
  /** The cumulative product of 1 - beta, by t. */
  readonly alphasCumprod: Float64Array;
}

/** Reads a scheduler_config.json of any class that diffusers draws with by such models; one without a class is taken for DDIM's. */
export function noiseSchedule(json: object): NoiseSchedule {
  const where = 'scheduler/scheduler_config.json';
  const { _class_name: name = 'DDIMScheduler' } = json as { _class_name?: unknown };
  if (typeof name !== 'string' || !Object.hasOwn(CLASSES, name))
    return fail(
      'UNSUPPORTED_OPTION',
      'noise-schedule',
      `${where}: the scheduler ${name} is not supported`,
      `Those that are: ${Object.keys(CLASSES).join(', ')}.`,
    );
  const { clips, ...defaults } = CLASSES[name];
  const given = Object.fromEntries(Object.entries(json).filter(([key, value]) => value !== null || !key.startsWith('beta_')));
  const parsed = parseConfig(schema, { ...defaults, ...given }, 'noise-schedule', where);
  // A class that does not clip may have the entry from another; it means nothing there.
  const config = { ...parsed, clip_sample: clips && parsed.clip_sample };
  const count = config.num_train_timesteps;
  if (config.trained_betas && config.trained_betas.length !== count)
    fail(
      'UNSUPPORTED_OPTION',
      'noise-schedule',
      `${where}: trained_betas has ${config.trained_betas.length} entries, num_train_timesteps is ${count}`,
      'Give a beta for each timestep.',
    );
  const alphasCumprod = new Float64Array(count);
  let product = 1;
  // In single precision, as where models were trained: where little signal is left, it shows.
  for (const [i, beta] of betasOf(config).entries()) alphasCumprod[i] = product *= Math.fround(1 - Math.fround(beta));
  if (config.rescale_betas_zero_snr) {
    // Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", algorithm 1.
    const roots = alphasCumprod.map(Math.sqrt);
    const [first, last] = [roots[0], roots[count - 1]];
    for (let i = 0; i < count; i++) alphasCumprod[i] = (((roots[i] - last) * first) / (first - last)) ** 2;
  }
  return { config, alphasCumprod };
}

/** Betas as diffusers has them: linear, scaled_linear (in the square root), squaredcos_cap_v2 (Nichol and Dhariwal 2021), or those that are listed. */
function betasOf({ num_train_timesteps: count, ...config }: NoiseSchedule['config']): readonly number[] {
  if (config.trained_betas) return config.trained_betas;
  const along = (i: number, from: number, to: number) => (count === 1 ? from : from + ((to - from) * i) / (count - 1));
  const left = (t: number) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  return Array.from({ length: count }, (_, i) => {
    if (config.beta_schedule === 'linear') return along(i, config.beta_start, config.beta_end);
    if (config.beta_schedule === 'scaled_linear') return along(i, Math.sqrt(config.beta_start), Math.sqrt(config.beta_end)) ** 2;
    return Math.min(1 - left((i + 1) / count) / left(i / count), 0.999);
  });
}
