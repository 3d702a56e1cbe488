import { fail } from '../../../core/index.js';
import type { NoiseSchedule } from '../../models/stable-diffusion/noise-schedule.js';
import type { Mixture } from './decompose.js';

/** What stands for no signal at all, where noise is measured by signal: diffusers' choice, half precision's least number. */
const LEAST_SIGNAL = 2 ** -24;

/** Noise measured by signal, sqrt((1 - abar) / abar), by t. */
export const sigmasOf = ({ alphasCumprod }: NoiseSchedule): Float64Array =>
  alphasCumprod.map((abar) => {
    const left = abar === 0 ? LEAST_SIGNAL : abar;
    return Math.sqrt((1 - left) / left);
  });

/** The shares that a sigma stands for. */
export const mixtureAt = (sigma: number): Mixture => {
  const signal = 1 / Math.sqrt(sigma * sigma + 1);
  return { signal, spread: sigma * signal };
};

/** The value between two timesteps. */
export const between = (values: Float64Array, t: number): number => {
  const low = Math.floor(t);
  return t === low ? values[low] : values[low] + (values[low + 1] - values[low]) * (t - low);
};

/** The noise that a walk ends with. */
export const finalSigma = ({ config }: NoiseSchedule, sigmas: Float64Array): number =>
  config.final_sigmas_type === 'sigma_min' ? sigmas[0] : 0;

/** Falling from `most` to `least` as Karras et al. 2022 space them (formula 5, rho = 7); the noise schedule may name other ends. */
export function karrasSigmas({ config }: NoiseSchedule, most: number, least: number, steps: number): number[] {
  const [from, to] = [(config.sigma_max ?? most) ** (1 / 7), (config.sigma_min ?? least) ** (1 / 7)];
  return Array.from({ length: steps }, (_, i) => (from + (steps === 1 ? 0 : i / (steps - 1)) * (to - from)) ** 7);
}

/**
 * The timestep at which there is so much noise, between two where it must be: linear in the logarithm. The levels' logarithms are taken in single
 * precision, as in diffusers: the solver cuts timesteps down to whole ones, and 998.99999 is not 999 there.
 */
export function timestepAt(sigma: number, sigmas: Float64Array): number {
  const logs = Float32Array.from(sigmas, (other) => Math.log(Math.fround(other)));
  const log = Math.log(sigma);
  const low = Math.min(
    Math.max(
      logs.findLastIndex((other) => other <= log),
      0,
    ),
    logs.length - 2,
  );
  return low + Math.min(Math.max((log - logs[low]) / (logs[low + 1] - logs[low]), 0), 1);
}

/** Whether a walk goes by Karras's sigmas: as the sampler was told, else as the noise schedule says. Spacings that are not built are refused by name. */
export function usesKarras({ config }: NoiseSchedule, told: boolean | undefined, sampler: string): boolean {
  if (told !== undefined) return told;
  const other = (['use_exponential_sigmas', 'use_beta_sigmas', 'use_lu_lambdas'] as const).find((name) => config[name]);
  const what = other ?? (config.interpolation_type === 'linear' ? null : `interpolation_type "${config.interpolation_type}"`);
  if (what !== null)
    fail(
      'UNSUPPORTED_OPTION',
      sampler,
      `the noise schedule asks for ${what}, which is not supported`,
      'Set karras to true or false, or use ddim().',
    );
  return config.use_karras_sigmas;
}
