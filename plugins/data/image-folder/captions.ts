import type { RandomGenerator } from '../../../core/index.js';

/** How captions are shown. */
export interface CaptionOptions {
  /** Stands before each caption, whatever is shuffled. */
  readonly captionPrefix?: string;
  /** Each epoch shows the parts of a caption, between commas, in another order. */
  readonly shuffleCaption?: boolean;
  /** So many parts at the beginning stay where they are; 0 by default. */
  readonly keepTokens?: number;
}

/** A caption with what stands before it. */
export const prefixed = (caption: string, { captionPrefix }: CaptionOptions): string =>
  captionPrefix === undefined ? caption : `${captionPrefix} ${caption}`.trim();

/** A caption with its parts in a drawn order. */
export function shuffled(caption: string, keepTokens: number, random: RandomGenerator): string {
  const parts = caption.split(',').map((part) => part.trim());
  const rest = parts.splice(keepTokens);
  return [...parts, ...Array.from(random.permutation(rest.length), (i) => rest[i])].join(', ');
}
