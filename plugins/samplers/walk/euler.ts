import type { Tensor4D } from '../../../core/tf.js';
import type { NoiseSchedule } from '../../models/stable-diffusion/noise-schedule.js';
import { decompose } from './decompose.js';
import type { Walk } from './sampler.js';
import { between, finalSigma, karrasSigmas, mixtureAt, sigmasOf, timestepAt } from './sigmas.js';
import { type Spacing, spaced } from './timesteps.js';

export interface EulerFacts {
  readonly spacing: Spacing;
  readonly karras: boolean;
  /** Whether each step goes further than it must and adds new noise. */
  readonly ancestral: boolean;
}

/**
 * Euler steps through noise levels (Karras et al. 2022, algorithm 2 without churn). A sample is image + sigma * noise, and is scaled to what the
 * model knows before it sees it.
 */
export function eulerWalk(schedule: NoiseSchedule, steps: number, { spacing, karras, ancestral }: EulerFacts): Walk {
  const all = sigmasOf(schedule);
  let timesteps = spaced(schedule, steps, spacing, { exact: true });
  let sigmas = timesteps.map((t) => between(all, t));
  if (karras) {
    sigmas = karrasSigmas(schedule, sigmas[0], sigmas[steps - 1], steps);
    timesteps = sigmas.map((sigma) => timestepAt(sigma, all));
  }
  sigmas.push(ancestral ? 0 : finalSigma(schedule, all));
  return {
    timesteps,
    // With leading spacing the walk does not begin at the noisiest level, and diffusers keeps the sum of both.
    initialSigma: spacing === 'leading' ? Math.sqrt(sigmas[0] ** 2 + 1) : sigmas[0],
    inputScale: (index) => mixtureAt(sigmas[index]).signal,
    step(prediction, index, sample, noise) {
      const [from, to] = [sigmas[index], sigmas[index + 1]];
      const mixture = mixtureAt(from);
      const { image } = decompose(schedule.config, prediction, sample.mul(mixture.signal), mixture);
      const up = ancestral ? Math.sqrt((to ** 2 * (from ** 2 - to ** 2)) / from ** 2) : 0;
      const down = Math.sqrt(to ** 2 - up ** 2);
      const next = image.add(sample.sub(image).mul(down / from));
      return (up > 0 ? next.add(noise().mul(up)) : next) as Tensor4D;
    },
    dispose: () => undefined,
  };
}
