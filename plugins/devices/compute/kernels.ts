import type { KernelFunc, Tensor4D, TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { FUSED, type FusedName } from './contract.js';
import { deviceOf } from './installed.js';
import { Effects, type Undo } from './undo.js';

/** A call of a kernel by TensorFlow.js, with what steploom keeps beside the backend in the backend's place. */
export interface KernelCall<D> {
  readonly inputs: Record<string, TensorInfo>;
  readonly attrs: Record<string, unknown>;
  readonly device: D;
}

export type Kernel<D> = (call: KernelCall<D>) => TensorInfo | TensorInfo[];

/** A device's fused kernels, those that it has: each takes its inputs in the order of FUSED. */
export type FusedKernels<D> = { readonly [name in FusedName]?: (device: D, tensors: TensorInfo[], attributes: never) => TensorInfo[] };

/** Kernels of a backend of TensorFlow.js that are replaced or added, until undo brings back what was there. */
export class Kernels<D extends { readonly backend: object }> {
  private readonly effects = new Effects();

  constructor(private readonly backendName: string) {}

  /** Registers a kernel; where the backend has one of that name, in its place, with that one at hand for what ours cannot do. */
  replace(kernelName: string, make: (original: Kernel<D>) => Kernel<D>): void {
    const { backendName } = this;
    const config = tf.getKernel(kernelName, backendName);
    const original: Kernel<D> = ({ inputs, attrs, device }) =>
      (config.kernelFunc as KernelFunc)({ inputs, attrs: attrs as never, backend: device.backend as never });
    const kernel = make(original);
    if (config) tf.unregisterKernel(kernelName, backendName);
    const kernelFunc: KernelFunc = ({ inputs, attrs, backend }) =>
      kernel({
        inputs: inputs as Record<string, TensorInfo>,
        attrs: attrs as Record<string, unknown>,
        device: deviceOf<D>(backend as object),
      });
    tf.registerKernel({ kernelName, backendName, kernelFunc });
    this.effects.add(() => {
      tf.unregisterKernel(kernelName, backendName);
      if (config) tf.registerKernel(config);
    });
  }

  /** Registers a device's fused kernels. */
  addFused(kernels: FusedKernels<D>): void {
    for (const name of Object.keys(FUSED) as FusedName[]) {
      const kernel = kernels[name];
      if (!kernel) continue;
      const fused = FUSED[name];
      this.replace(fused.kernel, () => ({ device, inputs, attrs }) => {
        const tensors = fused.inputs.flatMap((key) => inputs[key] ?? []);
        return kernel(device, tensors, attrs as never);
      });
    }
  }

  readonly undo: Undo = () => this.effects.undo();
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
