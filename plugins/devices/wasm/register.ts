import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import { registerOperations } from '../compute/contract.js';
import { convInfo, type Kernel, type KernelCall, Kernels } from '../compute/kernels.js';
import { rowProduct } from '../compute/row-product.js';
import { tracked } from '../compute/tracked.js';
import type { Effects } from '../compute/undo.js';
import type { CPUBackend } from '../cpu/internals.js';
import * as activations from './activations.js';
import { adamw8bit } from './adamw8bit.js';
import { attention } from './attention.js';
import { columnSum } from './column-sum.js';
import { conv2d, conv2dFilterGradient, conv2dInputGradient, convolves } from './convolution.js';
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

const product = ({ inputs, attrs, device }: KernelCall<WasmDevice>, bias?: TensorInfo): TensorInfo =>
  matMul(device, inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean, { bias });

/** Whether a bias is a number a column. */
const isRow = (bias: TensorInfo | undefined, columns: number) => !bias || tf.util.sizeFromShape(bias.shape) === columns;

const convolution: (original: Kernel<WasmDevice>) => Kernel<WasmDevice> = (original) => (call) => {
  const { inputs, attrs, device } = call;
  const { x, filter, bias, preluActivationWeights } = inputs;
  const c = tf.backend_util.computeConv2DInfo(
    x.shape as [number, number, number, number],
    filter.shape as [number, number, number, number],
    attrs.strides as number,
    (attrs.dilations ?? 1) as number,
    attrs.pad as number,
    attrs.dimRoundingMode as undefined,
    false,
    attrs.dataFormat === 'NCHW' ? 'channelsFirst' : 'channelsLast',
  );
  if (!convolves(c) || !isRow(bias, c.outChannels)) return original(call);
  return activated(device, conv2d(device, x, filter, c, { bias }), attrs, preluActivationWeights);
};

const REPLACED: Readonly<Record<string, (original: Kernel<WasmDevice>) => Kernel<WasmDevice>>> = {
  // The backend's copies the numbers, although it counts references: every saved activation was written twice.
  Identity:
    () =>
    ({ inputs: { x }, device }) => {
      device.backend.incRef(x.dataId);
      return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
    },
  BatchMatMul: (original) => (call) => (call.inputs.a.dtype === 'float32' ? product(call) : original(call)),
  _FusedMatMul: (original) => (call) => {
    const { inputs, attrs, device } = call;
    const { a, b, bias, preluActivationWeights } = inputs;
    if (a.dtype !== 'float32') return original(call);
    const fits = isRow(bias, attrs.transposeB ? b.shape[b.shape.length - 2] : b.shape[b.shape.length - 1]);
    const made = product(call, fits ? bias : undefined);
    if (fits) return activated(device, made, attrs, preluActivationWeights);
    const sum = device.run('Add', { a: made, b: bias });
    device.free(made);
    return activated(device, sum, attrs, preluActivationWeights);
  },
  Conv2D: convolution,
  FusedConv2D: convolution,
  Conv2DBackpropInput: (original) => (call) => {
    const { inputs, attrs, device } = call;
    const c = convInfo(attrs.inputShape as number[], inputs.filter.shape, attrs);
    return convolves(c) ? conv2dInputGradient(device, inputs.dy, inputs.filter, c) : original(call);
  },
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
      attention: attention(device),
      product: rowProduct((...operands) => matMul(device, ...operands)),
      convolution: (x, filter, { bias, rest, ...attributes }) =>
        tracked(conv2d(device, x, filter, convInfo(x.shape, filter.shape, attributes), { bias, rest })),
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

/** x, which is taken over, through what the kernel's attributes name. */
function activated(device: WasmDevice, x: TensorInfo, attrs: Record<string, unknown>, alpha?: TensorInfo): TensorInfo {
  const kernel = ACTIVATIONS[attrs.activation as string];
  if (!kernel) return x;
  const out = device.run(kernel, alpha ? { x, alpha } : { x }, { alpha: attrs.leakyreluAlpha });
  device.free(x);
  return out;
}
