import type { TensorData } from '../../../../core/index.js';

/** A module's two matrices in PyTorch's layout: linear [r, in] and [out, r], convolutions [r, in, h, w] and [out, r, 1, 1]. */
export interface LoraMatrices {
  /** The module's path, which begins with the component's name: `unet.`, `text_encoder.`. */
  readonly path: string;
  readonly a: TensorData;
  readonly b: TensorData;
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

/** The alpha that gives a module its scale where rslora is not known: kohya's programs divide by the rank. */
export const plainAlpha = ({ rank, alpha, rslora }: ScaledLoraMatrices): number => (rslora ? alpha * Math.sqrt(rank) : alpha);
