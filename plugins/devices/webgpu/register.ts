import type { TensorInfo } from '../../../core/tf.js';
import { registerOperations } from '../compute/contract.js';
import { convInfo, type FusedKernels, type Kernel, Kernels } from '../compute/kernels.js';
import { rowProduct } from '../compute/row-product.js';
import { tracked } from '../compute/tracked.js';
import type { Effects } from '../compute/undo.js';
import * as activations from './activations.js';
import { adamw8bit } from './adamw8bit.js';
import { add, multiply } from './arithmetic.js';
import { attention } from './attention.js';
import { Capturer } from './capturer.js';
import { columnSum, pixelSum } from './column-sum.js';
import { concat, split } from './columns.js';
import { conv2d, conv2dFilterGradient, conv2dInputGradient } from './convolution.js';
import { cumulative } from './cumulative.js';
import type { WebGPUDevice } from './device.js';
import { followed } from './followed.js';
import { gather } from './gather.js';
import { isHalf, withFull } from './half.js';
import { limited } from './indices.js';
import { matMul } from './matrix.js';
import { normals } from './normals.js';
import * as norms from './norms.js';
import { precision } from './precision.js';
import { reducer, summer } from './reduce.js';
import * as softmaxes from './softmax.js';
import { fitsHalf } from './storage.js';
import { updater } from './update.js';
import { uploader } from './upload.js';
import { upsample, upsampleGrad } from './upsampling.js';

/** Whether images have their channels last. */
const hasChannelsLast = ({ dataFormat }: Readonly<Record<string, unknown>>): boolean => (dataFormat ?? 'NHWC') === 'NHWC';

/** Whether the gradients of a convolution are ours. */
const isPlainConvolution = (attrs: Readonly<Record<string, unknown>>): boolean =>
  hasChannelsLast(attrs) && [attrs.dilations ?? 1].flat().every((d) => d === 1);

/** A bias that our products add while they write: a number for each of so many columns. */
const biasOf = ({ bias }: Record<string, TensorInfo>, columns: number): TensorInfo | undefined =>
  bias && bias.shape.length === 1 && bias.shape[0] === columns ? bias : undefined;

const REPLACED: Readonly<Record<string, (original: Kernel<WebGPUDevice>) => Kernel<WebGPUDevice>>> = {
  BatchMatMul:
    () =>
    ({ inputs, attrs, device }) =>
      matMul(device, inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean),

  _FusedMatMul: () => (call) => {
    const { inputs, attrs, device } = call;
    const bias = biasOf(inputs, inputs.b.shape[inputs.b.shape.length - (attrs.transposeB ? 2 : 1)]);
    return followed(call, bias, matMul(device, inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean, { bias }));
  },

  Conv2D: (original) => (call) => {
    const { inputs, attrs, device } = call;
    if (!hasChannelsLast(attrs)) return original(call);
    return conv2d(device, inputs.x, inputs.filter, convInfo(inputs.x.shape, inputs.filter.shape, attrs));
  },

  FusedConv2D: (original) => (call) => {
    const { inputs, attrs, device } = call;
    if (!hasChannelsLast(attrs)) return original(call);
    const bias = biasOf(inputs, inputs.filter.shape[3]);
    return followed(call, bias, conv2d(device, inputs.x, inputs.filter, convInfo(inputs.x.shape, inputs.filter.shape, attrs), { bias }));
  },

  Conv2DBackpropInput: (original) => (call) => {
    const { inputs, attrs, device } = call;
    if (!isPlainConvolution(attrs)) return original(call);
    const info = convInfo(attrs.inputShape as number[], inputs.filter.shape, attrs);
    return conv2dInputGradient(device, inputs.dy, inputs.filter, info);
  },

  Conv2DBackpropFilter: (original) => (call) => {
    const { inputs, attrs, device } = call;
    if (!isPlainConvolution(attrs)) return original(call);
    const info = convInfo(inputs.x.shape, attrs.filterShape as number[], attrs);
    return conv2dFilterGradient(device, inputs.x, inputs.dy, info);
  },

  GatherV2: gather,
  Cumsum: cumulative('Cumsum'),
  Cumprod: cumulative('Cumprod'),
};

/** A kernel that is given float32 alone. */
const full =
  (kernel: Kernel<WebGPUDevice>): Kernel<WebGPUDevice> =>
  (call) => {
    // An input that is left out may be named all the same.
    const given = Object.entries(call.inputs).filter(([, tensor]) => tensor);
    return withFull(
      call.device,
      given.map(([, tensor]) => tensor),
      (tensors) => kernel({ ...call, inputs: Object.fromEntries(given.map(([name], i) => [name, tensors[i]])) }),
    );
  };

/** Kernels that know half precision, but where its vectors do not fit the last axis that a tensor has by now. */
const knowing = (kernels: FusedKernels<WebGPUDevice>): FusedKernels<WebGPUDevice> =>
  Object.fromEntries(
    Object.entries(kernels).map(([name, kernel]) => [
      name,
      (device: WebGPUDevice, tensors: TensorInfo[], attributes: never) =>
        tensors.every((tensor) => !isHalf(device, tensor) || fitsHalf(tensor.shape))
          ? kernel(device, tensors, attributes)
          : withFull(device, tensors, (given) => kernel(device, given, attributes)),
    ]),
  );

/**
 * Registers kernels for the webgpu backend, matrix products and convolutions in place of TensorFlow.js's, and the fused ones; and operations
 * behind the compute contract.
 */
export function register(device: WebGPUDevice, effects: Effects): void {
  const kernels = new Kernels<WebGPUDevice>('webgpu');
  effects.add(kernels.undo);
  for (const [name, make] of Object.entries(REPLACED)) kernels.replace(name, (original) => make(full(original)));
  kernels.replace('Add', add);
  kernels.replace('Multiply', multiply);
  for (const [name, make] of Object.entries(limited)) kernels.replace(name, make);
  kernels.replace('Concat', concat);
  kernels.replace('SplitV', split);
  kernels.addFused(
    knowing({
      groupNorm: norms.groupNorm,
      groupNormGrad: norms.groupNormGrad,
      layerNorm: norms.layerNorm,
      layerNormGrad: norms.layerNormGrad,
      layerNormGammaGrad: norms.layerNormGammaGrad,
      softmax: softmaxes.softmax,
      softmaxGrad: softmaxes.softmaxGrad,
      silu: activations.silu,
      siluGrad: activations.siluGrad,
      geglu: activations.geglu,
      gegluGrad: activations.gegluGrad,
      columnSum,
      pixelSum,
      upsample,
      upsampleGrad,
    }),
  );
  effects.add(
    registerOperations(device.backend, {
      update: updater(device),
      sum: summer(device),
      adamw8bit: (...call) => adamw8bit(device, ...call),
      // Its tiles take more than the 16 KiB that every adapter has.
      ...(device.backend.device.limits.maxComputeWorkgroupStorageSize >= 32768 ? { attention: attention(device) } : {}),
      product: rowProduct((...operands) => matMul(device, ...operands)),
      convolution: (x, filter, { bias, rest, ...attributes }) =>
        tracked(conv2d(device, x, filter, convInfo(x.shape, filter.shape, attributes), { bias, rest })),
      upload: uploader(device),
      normals: (generators, size) => normals(device, generators, size),
      reducer: reducer(device),
      precision: precision(device),
      graphCapturer: () => new Capturer(device),
    }),
  );
}
