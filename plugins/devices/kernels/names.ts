import type { Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';

/** Names under which a device may register a kernel of ours. Without one, plain TensorFlow.js operations do the work. */
export const FUSED = {
  groupNorm: 'SteploomGroupNorm',
  groupNormGrad: 'SteploomGroupNormGrad',
  layerNorm: 'SteploomLayerNorm',
  layerNormGrad: 'SteploomLayerNormGrad',
  softmax: 'SteploomSoftmax',
  softmaxGrad: 'SteploomSoftmaxGrad',
  silu: 'SteploomSilu',
  siluGrad: 'SteploomSiluGrad',
  geglu: 'SteploomGeglu',
  gegluGrad: 'SteploomGegluGrad',
  columnSum: 'SteploomColumnSum',
  /** In place: p, m and v of a list of parameters. See {@link AdamWList}. */
  adamw: 'SteploomAdamW',
  /** The sum of squares over a list of tensors, as a scalar. */
  sumSquares: 'SteploomSumSquares',
  /** In place: a += (b - a) * weight over a list of tensors. */
  lerp: 'SteploomLerp',
} as const;

/** One parameter and its state, for the in-place AdamW kernel. */
export interface AdamWList {
  readonly parameters: readonly { readonly p: Tensor; readonly g: Tensor; readonly m: Tensor; readonly v: Tensor }[];
  /** [learning rate, weight decay, scale, finite, bias correction 1, bias correction 2] */
  readonly factors: Tensor;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

interface ListKernels {
  [FUSED.adamw]: (list: AdamWList) => void;
  [FUSED.sumSquares]: (tensors: readonly Tensor[]) => Tensor;
  [FUSED.lerp]: (pairs: readonly { readonly a: Tensor; readonly b: Tensor }[], weight: number) => void;
}

const lists = new Map<string, Partial<ListKernels>>();

/** Registers a device's kernels over lists of tensors, which TensorFlow.js's own registry has no form for. */
export const registerLists = (backend: string, kernels: Partial<ListKernels>): void => void lists.set(backend, kernels);

/** The current device's kernel over lists, if it has one. */
export const listKernel = <K extends keyof ListKernels>(name: K): ListKernels[K] | undefined => lists.get(tf.getBackend())?.[name];
