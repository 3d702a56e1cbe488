import type { Family as PublishedName } from '../../../persist/formats/lora/family.js';
import type { Family, PublishedModel } from '../family.js';
import { stableDiffusion } from './stable-diffusion.js';
import { stableDiffusionXL } from './stable-diffusion-xl.js';

/** The families that are known. */
export const FAMILIES: readonly Family[] = [stableDiffusion, stableDiffusionXL];

/** A published model, with the family that it is of. */
export function publishedModel(name: PublishedName): { readonly family: Family; readonly published: PublishedModel } {
  const family = FAMILIES.find(({ published }) => published[name]) as Family;
  return { family, published: family.published[name] as PublishedModel };
}
