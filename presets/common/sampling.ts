import { ddim } from '../../plugins/samplers/ddim.js';
import { dpmSolverPlusPlus } from '../../plugins/samplers/dpm-solver-plus-plus.js';
import { euler } from '../../plugins/samplers/euler.js';
import { eulerAncestral } from '../../plugins/samplers/euler-ancestral.js';
import type { SampleOptions } from '../../plugins/samplers/walk/sample-options.js';

/** The samplers as options name them. With guidance, models of pixels need their images clipped, and the noise computed again from that. */
export const SAMPLERS = {
  ddim: () => ddim({ useClippedModelOutput: true }),
  'dpm-solver++': () => dpmSolverPlusPlus({ clip: true }),
  'dpm-solver++-karras': () => dpmSolverPlusPlus({ clip: true, karras: true }),
  euler: () => euler({ clip: true }),
  'euler-ancestral': () => eulerAncestral({ clip: true }),
};
export type SamplerName = keyof typeof SAMPLERS;

/** How samples are drawn, while a model is trained and afterwards. */
export const samplingOf = (o: {
  readonly numInferenceSteps: number;
  readonly guidanceScale: number;
  readonly guidanceRescale: number;
  readonly negativePrompt?: string | readonly string[] | undefined;
  readonly sampler: SamplerName;
}) =>
  ({
    sampler: SAMPLERS[o.sampler](),
    steps: o.numInferenceSteps,
    guidance: o.guidanceScale,
    guidanceRescale: o.guidanceRescale,
    ...(o.negativePrompt === undefined ? {} : { negativePrompt: o.negativePrompt }),
  }) satisfies SampleOptions;
