import type { Scalar, Tensor } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { Generator } from '../../../core/index.js';
import type { Arrays, Program } from './program.js';

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
  /** Runs a {@link Program} over a list of tensors, in place. */
  program: 'SteploomProgram',
  /** AdamW over a list of tensors, in place: for a device that has it but runs no programs. */
  adamw: 'SteploomAdamW',
  /** 8-bit AdamW over a list of tensors, in place. */
  adamw8bit: 'SteploomAdamW8bit',
  /** Standard normal numbers [generators, size]. */
  normals: 'SteploomNormals',
} as const;

/** One parameter and its 8-bit state; codes are packed four to an int32, absmax holds m's blocks, then v's. */
export interface Parameter8bit {
  readonly p: Tensor;
  readonly g: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  readonly absmax: Tensor;
}

export interface ParameterAdamW {
  readonly p: Tensor;
  readonly g: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
}

/** The corrections are 1 / (1 - beta^t). */
export interface FactorsAdamW {
  readonly rate: number;
  readonly decay: number;
  readonly scale: number | Scalar;
  readonly correction1: Scalar;
  readonly correction2: Scalar;
}

export interface ConstantsAdamW {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

export interface Factors8bit {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly scale: number | Scalar;
  readonly correction1: Scalar;
  readonly correction2: Scalar;
}

export interface Constants8bit extends ConstantsAdamW {
  /** The largest step, in learning rates. */
  readonly bound: number;
}

interface ListKernels {
  /** The sum, where the program has one. */
  [FUSED.program]: (
    program: Program,
    list: readonly Arrays[],
    factors: Readonly<Record<string, number | Scalar>>,
    finite: number | Scalar,
  ) => Scalar | null;
  [FUSED.adamw]: (list: readonly ParameterAdamW[], factors: FactorsAdamW, finite: number | Scalar, constants: ConstantsAdamW) => void;
  [FUSED.normals]: (generators: readonly Generator[], size: number) => Tensor;
  [FUSED.adamw8bit]: (list: readonly Parameter8bit[], factors: Factors8bit, finite: number | Scalar, constants: Constants8bit) => void;
}

const lists = new Map<string, Partial<ListKernels>>();

/** Registers a device's kernels over lists of tensors, which TensorFlow.js's own registry has no form for. */
export const registerLists = (backend: string, kernels: Partial<ListKernels>): void => void lists.set(backend, kernels);

/** The current device's kernel over lists, if it has one. */
export const listKernel = <K extends keyof ListKernels>(name: K): ListKernels[K] | undefined => lists.get(tf.getBackend())?.[name];
