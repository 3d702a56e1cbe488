/** Height and width in pixels. */
export type Size = readonly [height: number, width: number];

/** How a picture became an example: scaled from `original` to `resized`, then cut to `target` at `crop` (top, left), then mirrored or not. */
export interface PictureConditions {
  readonly original: Size;
  /** Its size when it was cut. */
  readonly resized: Size;
  /** Top and left corner of what was cut out, in pixels of `resized`, before mirroring. */
  readonly crop: readonly [top: number, left: number];
  readonly target: Size;
  /** Whether it was mirrored, left to right. */
  readonly flipped?: boolean;
}

/**
 * SDXL's time ids (Podell et al. 2023, section 2.2): original height and width, crop top and left, target height and width. Of a mirrored picture the
 * crop's left is counted in the mirrored picture: what was cut off at the right.
 */
export function timeIds({ original, resized, crop: [top, left], target, flipped = false }: PictureConditions): number[] {
  return [...original, top, flipped ? resized[1] - target[1] - left : left, ...target];
}
