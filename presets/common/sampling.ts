import { ddim } from '../../plugins/samplers/ddim.js';
import type { SampleOptions } from '../../plugins/samplers/walk/sample-images.js';

/** How samples are drawn: with guidance, the noise must be recomputed from the clipped image. */
export const samplingOf = ({ numInferenceSteps, guidanceScale }: { numInferenceSteps: number; guidanceScale: number }) =>
  ({
    sampler: ddim({ useClippedModelOutput: true }),
    steps: numInferenceSteps,
    guidance: guidanceScale,
    batchSize: 48,
  }) satisfies SampleOptions;
