import type { KernelFunc, Tensor4D, TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { FUSED, FUSED_INPUTS, type FusedName } from './contract.js';
import { Effects, type Undo } from './undo.js';

/** What TensorFlow.js calls a kernel with. */
export interface KernelCall<B> {
  readonly inputs: Record<string, TensorInfo>;
  readonly attrs: Record<string, unknown>;
  readonly backend: B;
}

export type Kernel<B> = (call: KernelCall<B>) => TensorInfo | TensorInfo[];

/** Puts a kernel in the place of a backend's, which `make` is given to fall back on. Returns what puts the former back. */
export function replaceKernel<B>(backendName: string, kernelName: string, make: (former: Kernel<B>) => Kernel<B>): Undo {
  const former = tf.getKernel(kernelName, backendName);
  if (former) tf.unregisterKernel(kernelName, backendName);
  const kernelFunc = make(former?.kernelFunc as unknown as Kernel<B>) as unknown as KernelFunc;
  tf.registerKernel({ kernelName, backendName, kernelFunc });
  return () => {
    tf.unregisterKernel(kernelName, backendName);
    if (former) tf.registerKernel(former);
  };
}

/** A device's fused kernels: each takes its inputs in the order of FUSED_INPUTS. */
export type FusedKernels<B> = Readonly<Record<FusedName, (backend: B, tensors: TensorInfo[], attributes: never) => TensorInfo[]>>;

/** Registers them all. Returns what takes them back. */
export function registerFused<B>(backendName: string, kernels: FusedKernels<B>): Undo {
  const effects = new Effects();
  for (const name of Object.keys(FUSED) as FusedName[]) {
    const kernel: Kernel<B> = ({ backend, inputs, attrs }) => {
      const tensors = FUSED_INPUTS[name].map((key) => inputs[key]);
      return kernels[name](backend, tensors, attrs as never);
    };
    effects.add(replaceKernel<B>(backendName, FUSED[name], () => kernel));
  }
  return effects.undo;
}

/** A convolution's sizes and padding. */
export type ConvInfo = ReturnType<typeof tf.backend_util.computeConv2DInfo>;

/** Those of a kernel's call, from the shapes of x [n, h, w, in] and filter [kh, kw, in, out]. */
export const convInfo = (
  x: readonly number[],
  filter: readonly number[],
  { strides, pad, dilations, dimRoundingMode }: Record<string, unknown>,
): ConvInfo =>
  tf.backend_util.computeConv2DInfo(
    x as Tensor4D['shape'],
    filter as Tensor4D['shape'],
    strides as number,
    (dilations ?? 1) as number,
    pad as number,
    dimRoundingMode as undefined,
  );
