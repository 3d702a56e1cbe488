// The parts of tfjs-layers that a LayersModel is reached into by (version 4.22).
import type { LayersModel, Tensor } from '../../../core/tf.js';

/** A layer's weight. */
export interface LayerWeight {
  readonly originalName: string;
  val: Tensor;
}

/** A layer, or a model within a model. */
export interface Layer {
  readonly name: string;
  readonly weights: LayerWeight[];
  readonly trainableWeights: LayerWeight[];
  readonly layers?: Layer[];
  activation?: { apply(x: Tensor): Tensor; getClassName(): string };
  readonly rate?: number;
  readonly kernelSize?: number[];
  readonly strides?: number[];
  readonly dilationRate?: number | number[];
  readonly padding?: string;
  readonly dataFormat?: string;
  getClassName(): string;
  getNoiseShape?(x: Tensor): number[];
  call(inputs: Tensor | Tensor[], kwargs: object): Tensor;
}

/** A layer's inputs are one tensor or several; the layers looked at here have one. */
export const first = (inputs: Tensor | Tensor[]): Tensor => (Array.isArray(inputs) ? inputs[0] : inputs);

/** A LayersModel as the layer that it is. */
export const asLayer = (model: LayersModel): Layer => model as unknown as Layer;

/** How tfjs-layers names a layer that was given no name: with a number that counts through the whole process. */
const UNNAMED = /^(\w*_[A-Z]\w*?)(\d+)$/;

/**
 * Layers that hold weights or compute, models within models opened; a path is the layers' names with dots between. Names that
 * were made up are counted from 1 within the model, so that the same model built again has the same paths.
 */
export function leaves(layer: Layer, above = ''): [string, Layer][] {
  const counts = new Map<string, number>();
  return (layer.layers ?? []).flatMap((inner): [string, Layer][] => {
    const kind = UNNAMED.exec(inner.name)?.[1];
    const count = (counts.get(kind ?? '') ?? 0) + 1;
    if (kind) counts.set(kind, count);
    const path = `${above}${kind ? `${kind}${count}` : inner.name}`;
    return inner.layers ? leaves(inner, `${path}.`) : [[path, inner]];
  });
}

/** Layers that draw random numbers in a way that cannot be keyed from outside. */
export const UNKEYED = /^(GaussianNoise|GaussianDropout|AlphaDropout|Random)/;
