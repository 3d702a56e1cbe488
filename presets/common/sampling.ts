import { ddim } from '../../plugins/samplers/ddim.js';
import { dpmSolverPlusPlus } from '../../plugins/samplers/dpm-solver-plus-plus.js';
import { euler } from '../../plugins/samplers/euler.js';
import { eulerAncestral } from '../../plugins/samplers/euler-ancestral.js';
import type { SampleOptions } from '../../plugins/samplers/walk/sample-options.js';

/** The samplers as options name them. */
export const SAMPLERS = {
  ddim: () => ddim(),
  'dpm-solver++': () => dpmSolverPlusPlus(),
  'dpm-solver++-karras': () => dpmSolverPlusPlus({ karras: true }),
  euler: () => euler(),
  'euler-ancestral': () => eulerAncestral(),
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
