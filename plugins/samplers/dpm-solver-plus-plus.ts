import type { Tensor4D } from '../../core/tf.js';
import * as tf from '../../core/tf.js';
import type { NoiseSchedule } from '../models/stable-diffusion/noise-schedule.js';
import { decompose } from './walk/decompose.js';
import { samplerPlugin } from './walk/plugin.js';
import type { Walk } from './walk/sampler.js';
import { between, finalSigma, karrasSigmas, mixtureAt, sigmasOf, timestepAt, usesKarras } from './walk/sigmas.js';
import { evenRound, type Spacing, spaced } from './walk/timesteps.js';

export interface DPMSolverOptions {
  /** Overrides the noise schedule's timestep_spacing. */
  readonly spacing?: Spacing;
  /** Noise levels as Karras et al. 2022 space them; by default as the noise schedule's use_karras_sigmas says. */
  readonly karras?: boolean;
}

/** Below this many steps the last one is of first order, unless the noise schedule's lower_order_final is off. */
const FEW_STEPS = 15;

/**
 * DPM-Solver++ 2M (Lu et al. 2022, algorithm 2), as diffusers' DPMSolverMultistepScheduler of order 2 with midpoints. From a file it takes spacing,
 * sigmas and how a walk ends; order, algorithm and solver type are its own.
 */
export const dpmSolverPlusPlus = ({ spacing, karras }: DPMSolverOptions = {}) =>
  samplerPlugin({
    name: 'dpm-solver-plus-plus',
    spacing,
    usualSpacing: 'linspace',
    begin(schedule, steps, spacing): Walk {
      const { config } = schedule;
      const { timesteps, sigmas } = levels(schedule, steps, spacing, usesKarras(schedule, karras, 'dpm-solver-plus-plus'));
      // Where no noise is left, lambda is infinite, and the update is the predicted image itself.
      const points = sigmas.map((sigma) => ({ ...mixtureAt(sigma), lambda: -Math.log(sigma) }));
      const endsLow = config.euler_at_final || config.final_sigmas_type === 'zero' || (config.lower_order_final && steps < FEW_STEPS);
      let before: Tensor4D | null = null;
      return {
        timesteps,
        initialSigma: 1,
        inputScale: () => 1,
        step(prediction, index, sample) {
          const [here, next] = [points[index], points[index + 1]];
          const { image } = decompose(config, prediction, sample, here);
          const h = next.lambda - here.lambda;
          const factor = next.signal * (1 - Math.exp(-h));
          let direction: tf.Tensor = image;
          if (before && !(endsLow && index === steps - 1)) {
            const ratio = (here.lambda - points[index - 1].lambda) / h;
            direction = image.add(image.sub(before).mul(0.5 / ratio));
          }
          before?.dispose();
          before = tf.keep(image.clone());
          return sample.mul(next.spread / here.spread).add(direction.mul(factor)) as Tensor4D;
        },
        dispose() {
          before?.dispose();
          before = null;
        },
      };
    },
  });

/** The timesteps to visit, and the noise at each and at the end. */
function levels(schedule: NoiseSchedule, steps: number, spacing: Spacing, karras: boolean): { timesteps: number[]; sigmas: number[] } {
  const { config } = schedule;
  const all = sigmasOf(schedule);
  const below = all.filter((sigma) => -Math.log(sigma) >= config.lambda_min_clipped).length;
  const timesteps = spaced(schedule, steps, spacing, { extra: 1, below });
  const end = finalSigma(schedule, all);
  if (!karras) return { timesteps, sigmas: [...timesteps.map((t) => between(all, t)), end] };
  const sigmas = karrasSigmas(schedule, all[all.length - 1], all[0], steps);
  const whole = config.beta_schedule === 'squaredcos_cap_v2' ? Math.floor : evenRound;
  return { timesteps: sigmas.map((sigma) => whole(timestepAt(sigma, all))), sigmas: [...sigmas, end] };
}
