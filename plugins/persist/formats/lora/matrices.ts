import type { TensorData } from '../../../../core/index.js';

/** A module's two matrices in PyTorch's layout: linear [r, in] and [out, r], convolutions [r, in, h, w] and [out, r, 1, 1]. */
export interface LoraMatrices {
  /** The module's path, which begins with the component's name: `unet.`, `text_encoder.`. */
  readonly path: string;
  readonly a: TensorData;
  readonly b: TensorData;
  /** DoRA's magnitudes (Liu et al. 2024), [out]: the adapted weight is brought to these lengths, output by output. */
  readonly magnitude?: TensorData;
}

/** A module's matrices with what they are multiplied with. */
export interface ScaledLoraMatrices extends LoraMatrices {
  readonly rank: number;
  readonly alpha: number;
  readonly rslora: boolean;
  /** alpha / rank, or alpha / sqrt(rank) with rslora. */
  readonly scale: number;
}

/** What a rank, an alpha and the rslora switch make of the scale. */
export const loraScale = (rank: number, alpha: number, rslora: boolean): number => alpha / (rslora ? Math.sqrt(rank) : rank);

/** How adapters were made. Patterns say of modules whose paths end so that their rank or alpha is another, as peft's do; the first that fits counts. */
export interface LoraScaling {
  readonly rank: number;
  readonly alpha: number;
  readonly rslora?: boolean;
  readonly rankPattern?: Readonly<Record<string, number>>;
  readonly alphaPattern?: Readonly<Record<string, number>>;
}

/** Whether a module's path ends with what a target or a pattern names. */
export const endsWith = (path: string, end: string): boolean => path === end || path.endsWith(`.${end}`);

/** What a module's adapter is made of and multiplied with. */
export function scalingOf(path: string, { rank, alpha, rslora = false, rankPattern = {}, alphaPattern = {} }: LoraScaling) {
  const first = (pattern: Readonly<Record<string, number>>) => Object.entries(pattern).find(([end]) => endsWith(path, end))?.[1];
  const own = { rank: first(rankPattern) ?? rank, alpha: first(alphaPattern) ?? alpha, rslora };
  return { ...own, scale: loraScale(own.rank, own.alpha, rslora) };
}

/** The alpha that gives a module its scale where rslora is not known: kohya's programs divide by the rank. */
export const plainAlpha = ({ rank, alpha, rslora }: ScaledLoraMatrices): number => (rslora ? alpha * Math.sqrt(rank) : alpha);
