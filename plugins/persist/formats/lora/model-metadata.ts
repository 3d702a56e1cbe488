import type { Family } from './family.js';

/** A model as files tell it to other programs: one that adapters were trained on, or a file's own. */
export interface TrainedModel {
  readonly family: Family;
  /** Whether it predicts v, not the noise; false by default. */
  readonly vPrediction?: boolean;
  /** The side of the pictures in pixels, where it is known. */
  readonly resolution?: number;
  /** The name of the adapters, or of the model, that programs show. */
  readonly name: string;
}

/** The names that kohya's scripts have for base models, and Stability's ModelSpec for architectures. */
const BASES = {
  sd1: { base: 'sd_v1', architecture: 'stable-diffusion-v1' },
  sd2: { base: 'sd_v2', architecture: 'stable-diffusion-v2-512' },
  sd2v: { base: 'sd_v2_v', architecture: 'stable-diffusion-v2-768-v' },
  sdxl: { base: 'sdxl_base_v1-0', architecture: 'stable-diffusion-xl-v1-base' },
} as const;

const baseOf = ({ family, vPrediction }: TrainedModel) => BASES[family === 'sd2' && vPrediction ? 'sd2v' : family];

/** Stability's ModelSpec of a file that holds a whole model; of other files `kind` says what, after a slash. */
export function modelSpec(model: TrainedModel, kind = ''): Record<string, string> {
  const { family, vPrediction = false, resolution, name } = model;
  return {
    'modelspec.sai_model_spec': '1.0.0',
    'modelspec.architecture': baseOf(model).architecture + kind,
    'modelspec.implementation': family === 'sdxl' ? 'https://github.com/Stability-AI/generative-models' : 'diffusers',
    'modelspec.title': name,
    ...(resolution === undefined ? {} : { 'modelspec.resolution': `${resolution}x${resolution}` }),
    'modelspec.prediction_type': vPrediction ? 'v' : 'epsilon',
  };
}

/** The metadata by which AUTOMATIC1111, ComfyUI and steploom know the base model of a file of adapters: kohya's, and ModelSpec's. */
export const modelMetadata = (model: TrainedModel): Record<string, string> => ({
  ss_base_model_version: baseOf(model).base,
  ss_v2: model.family === 'sd2' ? 'True' : 'False',
  ss_output_name: model.name,
  ...modelSpec(model, '/lora'),
});

/** Whether such metadata say that the base model predicts the noise. */
export const saysEpsilon = (metadata: Readonly<Record<string, string>>): boolean => metadata['modelspec.prediction_type'] === 'epsilon';

/** Whether such metadata say that the base model predicts v. */
export const saysVPrediction = (metadata: Readonly<Record<string, string>>): boolean =>
  metadata['modelspec.prediction_type'] === 'v' || /^sd_v2.*_v$/.test(metadata.ss_base_model_version ?? '');
