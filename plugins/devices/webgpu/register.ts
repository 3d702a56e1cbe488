import type { TensorInfo } from '@tensorflow/tfjs';
import { convInfo, type FusedKernels, type Kernel, registerFused, replaceKernel } from '../compute/kernels.js';
import { Effects, type Undo } from '../compute/undo.js';
import { geglu, gegluGrad, silu, siluGrad } from './activations.js';
import { columnSum } from './column-sum.js';
import { conv2d, conv2dFilterGradient, conv2dInputGradient } from './convolution.js';
import { deviceOf, type WebGPUDevice } from './device.js';
import { groupNorm, groupNormGrad } from './group-norm.js';
import type { BackendInternals } from './internals.js';
import { layerNorm, layerNormGrad } from './layer-norm.js';
import { matMul } from './matrix.js';
import { softmax, softmaxGrad } from './softmax.js';

type Attributes = Record<string, unknown>;
type WebGPUKernel = Kernel<BackendInternals>;

/** Registers our kernels for the webgpu backend: matrix products and convolutions in place of TensorFlow.js's, and the fused ones. */
export function registerKernels(): Undo {
  const effects = new Effects();
  for (const [name, make] of Object.entries(REPLACED)) effects.add(replaceKernel('webgpu', name, make));
  effects.add(registerFused('webgpu', FUSED_KERNELS));
  return effects.undo;
}

/** Whether our convolutions can do it. */
const isPlainConvolution = (attrs: Attributes): boolean =>
  (attrs.dataFormat ?? 'NHWC') === 'NHWC' && [attrs.dilations ?? 1].flat().every((d) => d === 1) && !attrs.activation;

/** Whether our products can add it while they write. */
const isPlainBias = (inputs: Record<string, TensorInfo>): boolean =>
  !inputs.preluActivationWeights && (!inputs.bias || inputs.bias.shape.length <= 1);

/** Kernels in place of TensorFlow.js's, which are given to fall back on. */
const REPLACED: Record<string, (former: WebGPUKernel) => WebGPUKernel> = {
  BatchMatMul:
    () =>
    ({ inputs, attrs, backend }) =>
      matMul(deviceOf(backend), inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean),

  _FusedMatMul: (former) => (call) => {
    const { inputs, attrs, backend } = call;
    if (attrs.activation || !isPlainBias(inputs)) return former(call);
    return matMul(deviceOf(backend), inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean, inputs.bias);
  },

  Conv2D: (former) => (call) => {
    const { inputs, attrs, backend } = call;
    if (!isPlainConvolution(attrs)) return former(call);
    return conv2d(deviceOf(backend), inputs.x, inputs.filter, convInfo(inputs.x.shape, inputs.filter.shape, attrs));
  },

  FusedConv2D: (former) => (call) => {
    const { inputs, attrs, backend } = call;
    if (!isPlainConvolution(attrs) || !isPlainBias(inputs)) return former(call);
    return conv2d(deviceOf(backend), inputs.x, inputs.filter, convInfo(inputs.x.shape, inputs.filter.shape, attrs), inputs.bias);
  },

  Conv2DBackpropInput: (former) => (call) => {
    const { inputs, attrs, backend } = call;
    if (!isPlainConvolution(attrs)) return former(call);
    const info = convInfo(attrs.inputShape as number[], inputs.filter.shape, attrs);
    return conv2dInputGradient(deviceOf(backend), inputs.dy, inputs.filter, info);
  },

  Conv2DBackpropFilter: (former) => (call) => {
    const { inputs, attrs, backend } = call;
    if (!isPlainConvolution(attrs)) return former(call);
    const info = convInfo(inputs.x.shape, attrs.filterShape as number[], attrs);
    return conv2dFilterGradient(deviceOf(backend), inputs.x, inputs.dy, info);
  },
};

/** A kernel of a device for the backend that TensorFlow.js calls it with. */
const of =
  <A>(kernel: (device: WebGPUDevice, tensors: TensorInfo[], attributes: A) => TensorInfo[]) =>
  (backend: BackendInternals, tensors: TensorInfo[], attributes: A): TensorInfo[] =>
    kernel(deviceOf(backend), tensors, attributes);

const FUSED_KERNELS: FusedKernels<BackendInternals> = {
  groupNorm: of(groupNorm),
  groupNormGrad: of(groupNormGrad),
  layerNorm: of(layerNorm),
  layerNormGrad: of(layerNormGrad),
  softmax: of(softmax),
  softmaxGrad: of(softmaxGrad),
  silu: of(silu),
  siluGrad: of(siluGrad),
  geglu: of(geglu),
  gegluGrad: of(gegluGrad),
  columnSum: of(columnSum),
};
