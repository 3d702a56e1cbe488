import type { OptionChecks } from '../../../core/index.js';
import type { TextToImage } from '../../models/stable-diffusion/text-to-image.js';
import type { Sampler } from './sampler.js';

export interface SampleOptions {
  readonly sampler: Sampler;
  readonly steps: number;
  /** Classifier-free guidance (Ho and Salimans 2022); 1 turns it off. */
  readonly guidance: number;
  /** How far guided predictions go back to the spread of unguided ones (Lin et al. 2024), from 0, the default, to 1. */
  readonly guidanceRescale?: number;
  /** What guidance leads away from: one for all prompts, or one for each; no text at all by default. */
  readonly negativePrompt?: string | readonly string[];
  /** 1 by default. */
  readonly imagesPerPrompt?: number;
  /** In pixels; the model's own by default. */
  readonly height?: number;
  readonly width?: number;
  /** Images drawn at once; by default as many as make up 48 of 32 x 32 pixels, and one that is larger by itself. */
  readonly batchSize?: number;
  readonly onStep?: (done: number, of: number) => void;
}

const MOST_PIXELS_A_SIDE = 1 << 14;

/** Checks what can be checked without a model. */
export function checkSampling(check: OptionChecks, promptCount: number, options: Omit<SampleOptions, 'sampler'>): void {
  const { steps, guidance, guidanceRescale = 0, negativePrompt, imagesPerPrompt = 1, batchSize = 1 } = options;
  check.whole('steps', steps, 1);
  check.notNegative('guidance', guidance);
  if (!(guidanceRescale >= 0 && guidanceRescale <= 1)) check.invalid(`guidanceRescale is ${guidanceRescale}`, 'Give a number from 0 to 1.');
  check.whole('imagesPerPrompt', imagesPerPrompt, 1);
  check.whole('batchSize', batchSize, 1);
  if (Array.isArray(negativePrompt) && negativePrompt.length !== 1 && negativePrompt.length !== promptCount)
    check.invalid(`${negativePrompt.length} negative prompts are given for ${promptCount} prompts`, 'Give one for all, or one for each.');
  if (guidance !== 1) return;
  const unused = negativePrompt !== undefined ? 'a negative prompt' : guidanceRescale > 0 ? 'guidanceRescale' : null;
  if (unused !== null) check.invalid(`${unused} is given, but guidance is 1, which turns it off`, 'Raise guidance, or leave it out.');
}

/** Height and width of what is drawn, in pixels. */
export const sizeOf = ({ latentSize, codec }: TextToImage, { height, width }: Pick<SampleOptions, 'height' | 'width'>) => {
  const own = latentSize * codec.factor;
  return { height: height ?? own, width: width ?? own };
};

/** Checks that a model can draw pictures of this size: the denoiser takes every whole number of latents, a latent is some pixels. */
export function checkSize(check: OptionChecks, model: TextToImage, options: Pick<SampleOptions, 'height' | 'width'>): void {
  const { factor } = model.codec;
  for (const [name, value] of Object.entries(sizeOf(model, options)))
    if (check.wholeWithin(name, value, factor, MOST_PIXELS_A_SIDE) && value % factor !== 0)
      check.invalid(`${name} is ${value}, and the model draws in blocks of ${factor} x ${factor} pixels`, `Give a multiple of ${factor}.`);
}
