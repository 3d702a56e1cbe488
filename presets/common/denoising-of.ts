import { denoising } from '../../plugins/objectives/denoising.js';
import type { diffusionOptions, OptionValues } from './options.js';

/** The objective of every preset that trains a diffusion model, from the options that they share. */
export const denoisingOf = ({
  snrGamma,
  noiseOffset,
  captionDropout,
}: Pick<OptionValues<typeof diffusionOptions>, 'snrGamma' | 'noiseOffset' | 'captionDropout'>) =>
  denoising({ snrGamma, noiseOffset, captionDropout });
