import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { registerOperations } from '../compute/contract.js';
import { convInfo, type Kernel, type KernelCall, Kernels } from '../compute/kernels.js';
import type { Effects } from '../compute/undo.js';
import type { CPUBackend } from '../cpu/internals.js';
import * as activations from './activations.js';
import { adamw8bit } from './adamw8bit.js';
import { columnSum } from './column-sum.js';
import { conv2dFilterGradient, conv2dInputGradient } from './convolution.js';
import type { WasmDevice } from './device.js';
import { matMul } from './matrix.js';
import * as norms from './norms.js';
import { maxPoolGradient } from './pool.js';
import { reducer, summer } from './reduce.js';
import * as softmaxes from './softmax.js';
import { updater } from './update.js';

/** Kernels that the backend lacks, or whose result is wrong, and that are rare: the cpu backend's, on copies. */
const FROM_CPU = [
  'DepthwiseConv2dNativeBackpropFilter',
  'DepthwiseConv2dNativeBackpropInput',
  'UnsortedSegmentSum',
  'Einsum',
  'Conv3DBackpropInputV2',
];

const fromCpu =
  (kernelName: string): Kernel<WasmDevice> =>
  ({ inputs, attrs, device: { backend } }) => {
    const kernel = tf.getKernel(kernelName, 'cpu');
    const cpu = tf.findBackend('cpu') as unknown as CPUBackend;
    // Einsum takes a list, whose keys are its places.
    const copies = Object.fromEntries(
      Object.entries(inputs).map(([key, t]) => [key, cpu.makeTensorInfo(t.shape, t.dtype, backend.readSync(t.dataId))]),
    );
    const given = Array.isArray(inputs) ? Object.values(copies) : copies;
    const result = kernel.kernelFunc({ inputs: given as never, attrs: attrs as never, backend: cpu as never }) as TensorInfo;
    const out = backend.makeOutput(result.shape, result.dtype);
    backend.typedArrayFromHeap(out).set(cpu.readSync(result.dataId));
    for (const t of [...Object.values(copies), result]) cpu.disposeData(t.dataId);
    return out;
  };

const product = ({ inputs, attrs, device }: KernelCall<WasmDevice>): TensorInfo =>
  matMul(device, inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean);

const REPLACED: Readonly<Record<string, (original: Kernel<WasmDevice>) => Kernel<WasmDevice>>> = {
  // The backend's copies the numbers, although it counts references: every saved activation was written twice.
  Identity:
    () =>
    ({ inputs: { x }, device }) => {
      device.backend.incRef(x.dataId);
      return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
    },
  BatchMatMul: () => product,
  _FusedMatMul: (original) => (call) => {
    const { inputs, attrs, device } = call;
    const { a, b, bias, preluActivationWeights } = inputs;
    const single = tf.util.sizeFromShape(a.shape.slice(0, -2)) === 1 && tf.util.sizeFromShape(b.shape.slice(0, -2)) === 1;
    const plain =
      !attrs.transposeA && !attrs.transposeB && single && (!bias || tf.util.sizeFromShape(bias.shape) === b.shape[b.shape.length - 1]);
    if (plain) return original(call);
    // The module's fused product leaves the bias out, or adds it wrongly, with transposes and batches.
    const unbiased = product(call);
    const sum = bias ? device.run('Add', { a: unbiased, b: bias }) : unbiased;
    return attrs.activation ? activated(device, sum, attrs, preluActivationWeights) : sum;
  },
  Conv2DBackpropInput:
    () =>
    ({ inputs, attrs, device }) =>
      conv2dInputGradient(device, inputs.dy, inputs.filter, convInfo(attrs.inputShape as number[], inputs.filter.shape, attrs)),
  Conv2DBackpropFilter:
    () =>
    ({ inputs, attrs, device }) =>
      conv2dFilterGradient(device, inputs.x, inputs.dy, convInfo(inputs.x.shape, attrs.filterShape as number[], attrs)),
  MaxPoolGrad:
    () =>
    ({ inputs: { dy, input }, attrs: { filterSize, strides, pad, dimRoundingMode }, device }) => {
      const shape = input.shape as [number, number, number, number];
      const rounding = dimRoundingMode as undefined;
      const info = tf.backend_util.computePool2DInfo(shape, filterSize as number, strides as number, 1, pad as number, rounding);
      return maxPoolGradient(device, dy, input, info);
    },
};

/** Registers kernels in place of the backend's, the fused ones, and operations behind the compute contract. */
export function register(device: WasmDevice, effects: Effects): void {
  const kernels = new Kernels<WasmDevice>('wasm');
  effects.add(kernels.undo);
  for (const name of FROM_CPU) kernels.replace(name, () => fromCpu(name));
  for (const [name, make] of Object.entries(REPLACED)) kernels.replace(name, make);
  kernels.addFused({ ...norms, ...softmaxes, ...activations, columnSum });
  effects.add(
    registerOperations(device.backend, {
      update: updater(device),
      sum: summer(device),
      adamw8bit: adamw8bit(device),
      reducer: reducer(device),
    }),
  );
}

const ACTIVATIONS: Record<string, string> = {
  relu: 'Relu',
  relu6: 'Relu6',
  elu: 'Elu',
  sigmoid: 'Sigmoid',
  leakyrelu: 'LeakyRelu',
  prelu: 'Prelu',
};

function activated(device: WasmDevice, x: TensorInfo, attrs: Record<string, unknown>, alpha?: TensorInfo): TensorInfo {
  const kernel = ACTIVATIONS[attrs.activation as string];
  if (!kernel) return x;
  return device.run(kernel, alpha ? { x, alpha } : { x }, { alpha: attrs.leakyreluAlpha });
}
