import type { TensorInfo } from '@tensorflow/tfjs';
import { convInfo, type Kernel, Kernels } from '../compute/kernels.js';
import type { Undo } from '../compute/undo.js';
import { geglu, gegluGrad, silu, siluGrad } from './activations.js';
import { columnSum } from './column-sum.js';
import { conv2d, conv2dFilterGradient, conv2dInputGradient } from './convolution.js';
import { deviceOf, type WebGPUDevice } from './device.js';
import { groupNorm, groupNormGrad } from './group-norm.js';
import { layerNorm, layerNormGrad } from './layer-norm.js';
import { matMul } from './matrix.js';
import { softmax, softmaxGrad } from './softmax.js';

type Attributes = Record<string, unknown>;
type WebGPUKernel = Kernel<WebGPUDevice>;

/** Registers our kernels for the webgpu backend: matrix products and convolutions in place of TensorFlow.js's, and the fused ones. */
export function registerKernels(): Undo {
  const kernels = new Kernels<WebGPUDevice>('webgpu', deviceOf);
  for (const [name, make] of Object.entries(REPLACED)) kernels.replace(name, make);
  kernels.addFused({
    groupNorm,
    groupNormGrad,
    layerNorm,
    layerNormGrad,
    softmax,
    softmaxGrad,
    silu,
    siluGrad,
    geglu,
    gegluGrad,
    columnSum,
  });
  return kernels.undo;
}

/** Whether our convolutions can do it. */
const isPlainConvolution = (attrs: Attributes): boolean =>
  (attrs.dataFormat ?? 'NHWC') === 'NHWC' && [attrs.dilations ?? 1].flat().every((d) => d === 1) && !attrs.activation;

/** Whether our products can add it while they write. */
const isPlainBias = (inputs: Record<string, TensorInfo>): boolean =>
  !inputs.preluActivationWeights && (!inputs.bias || inputs.bias.shape.length <= 1);

/** Kernels in place of TensorFlow.js's. */
const REPLACED: Record<string, (original: WebGPUKernel) => WebGPUKernel> = {
  BatchMatMul:
    () =>
    ({ inputs, attrs, device }) =>
      matMul(device, inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean),

  _FusedMatMul: (original) => (call) => {
    const { inputs, attrs, device } = call;
    if (attrs.activation || !isPlainBias(inputs)) return original(call);
    return matMul(device, inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean, inputs.bias);
  },

  Conv2D: (original) => (call) => {
    const { inputs, attrs, device } = call;
    if (!isPlainConvolution(attrs)) return original(call);
    return conv2d(device, inputs.x, inputs.filter, convInfo(inputs.x.shape, inputs.filter.shape, attrs));
  },

  FusedConv2D: (original) => (call) => {
    const { inputs, attrs, device } = call;
    if (!isPlainConvolution(attrs) || !isPlainBias(inputs)) return original(call);
    return conv2d(device, inputs.x, inputs.filter, convInfo(inputs.x.shape, inputs.filter.shape, attrs), inputs.bias);
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
};
