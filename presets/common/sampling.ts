import { ddim } from '../../plugins/samplers/ddim.js';
import { dpmSolverPlusPlus } from '../../plugins/samplers/dpm-solver-plus-plus.js';
import type { SampleOptions } from '../../plugins/samplers/walk/sample-images.js';

/** The samplers as the command line names them. With guidance, the noise must be recomputed from the clipped image. */
export const SAMPLERS = {
  ddim: () => ddim({ useClippedModelOutput: true }),
  'dpm-solver++': () => dpmSolverPlusPlus({ clip: true }),
};
export type SamplerName = keyof typeof SAMPLERS;

/** How samples are drawn, while a model is trained and afterwards. */
export const samplingOf = ({
  numInferenceSteps,
  guidanceScale,
  sampler = 'ddim',
}: {
  readonly numInferenceSteps: number;
  readonly guidanceScale: number;
  readonly sampler?: SamplerName;
}) =>
  ({
    sampler: SAMPLERS[sampler](),
    steps: numInferenceSteps,
    guidance: guidanceScale,
    batchSize: 48,
  }) satisfies SampleOptions;
