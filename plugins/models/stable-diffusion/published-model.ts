import type { Family as PublishedName } from '../../persist/formats/lora/family.js';
import { FAMILIES } from './families.js';
import type { Family, PublishedModel } from './family.js';

/** A published model, with the family that it is of. */
export function publishedModel(name: PublishedName): { readonly family: Family; readonly published: PublishedModel } {
  const family = FAMILIES.find(({ published }) => published[name]) as Family;
  return { family, published: family.published[name] as PublishedModel };
}
