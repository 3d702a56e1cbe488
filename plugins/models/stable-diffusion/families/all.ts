import type { Family } from '../family.js';
import { stableDiffusion } from './stable-diffusion.js';
import { stableDiffusionXL } from './stable-diffusion-xl.js';

/** The families that are known. */
export const FAMILIES: readonly Family[] = [stableDiffusion, stableDiffusionXL];
