import type { Collective, GraphCapturer, RandomGenerator } from '../../../core/index.js';
import type { Scalar, Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { Arrays, Program } from './program.js';
import type { ReduceOptions, Reducer } from './reduction.js';
import type { Undo } from './undo.js';

/**
 * Kernels of ours that a device may have: the name to register each under, and its inputs in the order in which a device's function takes them.
 * Without one, plain TensorFlow.js operations do the work. A norm may give its statistics beside its result, which its gradient then gets; dgamma and
 * dbeta may come as rows [.., c] that are still to be added up, or, of a layer norm that has layerNormGammaGrad, not at all.
 */
export const FUSED = {
  groupNorm: { kernel: 'SteploomGroupNorm', inputs: ['x', 'gamma', 'beta'] },
  groupNormGrad: { kernel: 'SteploomGroupNormGrad', inputs: ['x', 'dy', 'gamma', 'beta', 'stats'] },
  layerNorm: { kernel: 'SteploomLayerNorm', inputs: ['x', 'gamma', 'beta'] },
  layerNormGrad: { kernel: 'SteploomLayerNormGrad', inputs: ['x', 'dy', 'gamma', 'stats'] },
  layerNormGammaGrad: { kernel: 'SteploomLayerNormGammaGrad', inputs: ['x', 'dy', 'stats'] },
  softmax: { kernel: 'SteploomSoftmax', inputs: ['x'] },
  softmaxGrad: { kernel: 'SteploomSoftmaxGrad', inputs: ['p', 'dp'] },
  silu: { kernel: 'SteploomSilu', inputs: ['x'] },
  siluGrad: { kernel: 'SteploomSiluGrad', inputs: ['x', 'dy'] },
  geglu: { kernel: 'SteploomGeglu', inputs: ['x'] },
  gegluGrad: { kernel: 'SteploomGegluGrad', inputs: ['x', 'dy'] },
  columnSum: { kernel: 'SteploomColumnSum', inputs: ['x'] },
  pixelSum: { kernel: 'SteploomPixelSum', inputs: ['x'] },
  upsample: { kernel: 'SteploomUpsample', inputs: ['x'] },
  upsampleGrad: { kernel: 'SteploomUpsampleGrad', inputs: ['dy'] },
} as const;

export type FusedName = keyof typeof FUSED;

/** What the kernels of group normalization are told. */
export interface GroupNormAttributes {
  readonly groups: number;
  readonly epsilon: number;
  /** Whether silu follows. */
  readonly activate: boolean;
}

/** What the kernels of layer normalization are told. */
export interface LayerNormAttributes {
  readonly epsilon: number;
}

/** What the kernels of softmax are told. */
export interface SoftmaxAttributes {
  /** Multiplies the scores before they are normalized. */
  readonly scale: number;
}

/** One parameter, its gradient, and the running means of AdamW. */
export interface ParameterAdamW {
  readonly p: Tensor;
  readonly g: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
}

/** The same with 8-bit means: codes are packed four to an int32, absmax holds m's blocks, then v's. */
export interface Parameter8bit extends ParameterAdamW {
  readonly absmax: Tensor;
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

export interface Constants8bit extends ConstantsAdamW {
  /** The largest step, in learning rates. */
  readonly bound: number;
}

export type Factors = Readonly<Record<string, number | Scalar>>;

/** Integers from 0 to 255 in a device's memory. */
export interface CodeStorage {
  /** int32 [n] to whatever the device keeps. */
  store(codes: Tensor): Tensor;
  /** And back. */
  load(stored: Tensor): Tensor;
  /** For each number of x [n], how many of the rising `edges` lie below it: int32. */
  nearest(x: Tensor, edges: readonly number[]): Tensor;
}

/** Attention with several heads whose scores are stored nowhere: q [n, lq, heads d], k and v [n, lk, heads d], scaled by 1 / sqrt(d). */
export interface AttentionOperation {
  /** The result [n, lq, heads d], and what the backward pass needs: the logarithm of each row's sum of exponentials [n, heads, lq]. */
  forward(q: Tensor, k: Tensor, v: Tensor, heads: number): { readonly result: Tensor; readonly sumLogs: Tensor };
  /** The gradients, from that of the result. */
  backward(
    dy: Tensor,
    saved: { readonly q: Tensor; readonly k: Tensor; readonly v: Tensor; readonly result: Tensor; readonly sumLogs: Tensor },
    heads: number,
  ): { readonly dq: Tensor; readonly dk: Tensor; readonly dv: Tensor };
}

/** How a product is taken, and what is added to it while it is written. */
export interface ProductOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** The product, and that beside it, are multiplied with it before anything else is added. */
  readonly scale?: number;
  /** A number a column [n]. */
  readonly bias?: Tensor | undefined;
  /** A tensor like the result. */
  readonly rest?: Tensor | undefined;
  /** Another product, of [..., r] and [r, n], transposed as b is. */
  readonly more?: { readonly a: Tensor; readonly b: Tensor } | undefined;
  /** Whether the result is in float32 whatever the operands are stored as: of what is trained. */
  readonly full?: boolean;
}

/** What a convolution is told beside its stride and padding, and what is added to it while it is written. */
export interface ConvolutionOptions {
  readonly strides: number;
  readonly pad: 'same' | 'valid' | readonly (readonly [number, number])[];
  readonly bias?: Tensor | undefined;
  readonly rest?: Tensor | undefined;
}

/**
 * Tensors stored in half precision (float16), float32 by name all the same: kernels that know it read and write them so and reckon in float32, and all
 * others are given float32 copies.
 */
export interface HalfPrecision {
  isHalf(x: Tensor): boolean;
  /** Whether a tensor of this shape may be stored so. */
  fits(shape: readonly number[]): boolean;
  /** A copy in half precision; what float16 cannot hold becomes infinite. */
  half(x: Tensor): Tensor;
  /** A copy in single precision. */
  full(x: Tensor): Tensor;
  /** Sends values to the device in half precision, in place of the tensor, which is disposed: nothing else of it stays there. */
  store(x: Tensor): Promise<Tensor>;
}

/** What a device may have beside kernels in TensorFlow.js's registry, which has no form for several tensors at a time. */
export interface DeviceOperations {
  /** Runs a program over groups of arrays, in place; nothing changes where `finite` is 0. */
  update(program: Program, list: readonly Arrays[], factors: Factors, finite: number | Scalar): void;
  /** The sum of a program's `sum` over all groups, a scalar on the device that the caller owns. */
  sum(program: Program, list: readonly Arrays[], factors: Factors): Scalar;
  /** AdamW in place: for a device that has it but runs no programs. */
  adamw(list: readonly ParameterAdamW[], factors: FactorsAdamW, finite: number | Scalar, constants: ConstantsAdamW): void;
  /** 8-bit AdamW in place, over packed codes. */
  adamw8bit(list: readonly Parameter8bit[], factors: FactorsAdamW, finite: number | Scalar, constants: Constants8bit): void;
  readonly attention: AttentionOperation;
  /** a [..., k] times b [k, n]; more dimensions than two are rows of a matrix, and the result of one that is not transposed has them too. */
  product(a: Tensor, b: Tensor, options: ProductOptions): Tensor;
  /** x [n, h, w, in] convolved with filters [kh, kw, in, out]. */
  convolution(x: Tensor, filter: Tensor, options: ConvolutionOptions): Tensor;
  /** Sends a tensor's values to the device's memory at once, where they would otherwise stay on the host until they are used. */
  upload(tensor: Tensor): Promise<void>;
  readonly precision: HalfPrecision;
  /** Standard normal numbers [generators, size]. */
  normals(generators: readonly RandomGenerator[], size: number): Tensor;
  /** Adds up tensors over ranks without a detour through the host's arrays. */
  reducer(collective: Collective, options: ReduceOptions): Reducer;
  /** Captures computations, of which one is under way at a time, and replays them without TensorFlow.js. */
  graphCapturer(): GraphCapturer;
  /** How 8-bit codes are kept where there is no kernel for them. */
  readonly codes: CodeStorage;
  /** True where convolutions with the padding spelt out have no gradient: what they are given is padded before. */
  readonly padsBeforeConvolution: boolean;
}

const OPERATIONS = Symbol('steploom: operations');

/** A backend of TensorFlow.js, which carries its operations. */
interface Carrier {
  [OPERATIONS]?: Partial<DeviceOperations> | undefined;
}

/** Gives a backend of TensorFlow.js its operations; undoing brings back those that it had before. */
export function registerOperations(backend: object, operations: Partial<DeviceOperations>): Undo {
  const carrier: Carrier = backend;
  const before = carrier[OPERATIONS];
  carrier[OPERATIONS] = operations;
  return () => {
    if (before) carrier[OPERATIONS] = before;
    else delete carrier[OPERATIONS];
  };
}

/** What the current device has of an operation, if it has it. */
export const operation = <K extends keyof DeviceOperations>(name: K): DeviceOperations[K] | undefined =>
  (tf.backend() as Carrier)[OPERATIONS]?.[name];
