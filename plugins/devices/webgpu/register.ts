import type { KernelFunc, Tensor4D, TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { FUSED } from '../compute/contract.js';
import * as activations from './activations.js';
import { columnSum } from './column-sum.js';
import * as convolution from './convolution.js';
import { deviceOf, type WebGPUDevice } from './device.js';
import * as groups from './group-norm.js';
import * as layers from './layer-norm.js';
import { matMul } from './matrix.js';
import { softmax, softmaxGrad } from './softmax.js';
import { Effects, type Undo } from './undo.js';

/** A call of a kernel by TensorFlow.js, with what we keep beside the backend in its place. */
interface Call {
  readonly inputs: Record<string, TensorInfo>;
  readonly attrs: Record<string, unknown>;
  readonly device: WebGPUDevice;
}

type Kernel = (call: Call) => TensorInfo | TensorInfo[];

/** Registers a kernel; where TensorFlow.js has one of the name, in its place, with that one at hand for what ours cannot do. */
function replace(kernelName: string, make: (original: Kernel) => Kernel): Undo {
  const config = tf.getKernel(kernelName, 'webgpu');
  const original: Kernel = ({ inputs, attrs, device }) =>
    (config.kernelFunc as KernelFunc)({ inputs, attrs: attrs as never, backend: device.backend as never });
  const kernel = make(original);
  if (config) tf.unregisterKernel(kernelName, 'webgpu');
  tf.registerKernel({
    kernelName,
    backendName: 'webgpu',
    kernelFunc: ({ inputs, attrs, backend }) =>
      kernel({
        inputs: inputs as Record<string, TensorInfo>,
        attrs: attrs as Record<string, unknown>,
        device: deviceOf(backend as object),
      }),
  });
  return () => {
    tf.unregisterKernel(kernelName, 'webgpu');
    if (config) tf.registerKernel(config);
  };
}

const convInfo = (
  x: readonly number[],
  filter: readonly number[],
  { strides, pad, dilations, dimRoundingMode }: Record<string, unknown>,
): convolution.ConvInfo =>
  tf.backend_util.computeConv2DInfo(
    x as Tensor4D['shape'],
    filter as Tensor4D['shape'],
    strides as number,
    (dilations ?? 1) as number,
    pad as number,
    dimRoundingMode as undefined,
  );

/** Whether our convolutions can do it. */
const isPlainConvolution = (attrs: Record<string, unknown>): boolean =>
  (attrs.dataFormat ?? 'NHWC') === 'NHWC' && [attrs.dilations ?? 1].flat().every((d) => d === 1) && !attrs.activation;

/** Whether our products can add it while they write. */
const isPlainBias = (inputs: Record<string, TensorInfo>): boolean =>
  !inputs.preluActivationWeights && (!inputs.bias || inputs.bias.shape.length <= 1);

/** Registers our kernels for the webgpu backend: matrix products and convolutions in place of TensorFlow.js's, and the fused ones. */
export function registerKernels(): Undo {
  const effects = new Effects();
  for (const [name, make] of Object.entries(REPLACED)) effects.add(replace(name, make));
  for (const [name, inputs, run] of ADDED)
    effects.add(
      replace(
        name,
        () => (call) =>
          run(
            call.device,
            inputs.map((key) => call.inputs[key]),
            call.attrs as never,
          ),
      ),
    );
  return effects.undo;
}

const REPLACED: Record<string, (original: Kernel) => Kernel> = {
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
    return convolution.conv2d(device, inputs.x, inputs.filter, convInfo(inputs.x.shape, inputs.filter.shape, attrs));
  },
  FusedConv2D: (original) => (call) => {
    const { inputs, attrs, device } = call;
    if (!isPlainConvolution(attrs) || !isPlainBias(inputs)) return original(call);
    return convolution.conv2d(device, inputs.x, inputs.filter, convInfo(inputs.x.shape, inputs.filter.shape, attrs), inputs.bias);
  },
  Conv2DBackpropInput: (original) => (call) => {
    const { inputs, attrs, device } = call;
    if (!isPlainConvolution(attrs)) return original(call);
    const info = convInfo(attrs.inputShape as number[], inputs.filter.shape, attrs);
    return convolution.conv2dInputGradient(device, inputs.dy, inputs.filter, info);
  },
  Conv2DBackpropFilter: (original) => (call) => {
    const { inputs, attrs, device } = call;
    if (!isPlainConvolution(attrs)) return original(call);
    const info = convInfo(inputs.x.shape, attrs.filterShape as number[], attrs);
    return convolution.conv2dFilterGradient(device, inputs.x, inputs.dy, info);
  },
};

type Fused = (device: WebGPUDevice, tensors: TensorInfo[], attributes: never) => TensorInfo[];

const ADDED: readonly [name: string, inputs: readonly string[], run: Fused][] = [
  [FUSED.groupNorm, ['x', 'gamma', 'beta'], groups.groupNorm],
  [FUSED.groupNormGrad, ['x', 'dy', 'gamma', 'beta'], groups.groupNormGrad],
  [FUSED.layerNorm, ['x', 'gamma', 'beta'], layers.layerNorm],
  [FUSED.layerNormGrad, ['x', 'dy', 'gamma'], layers.layerNormGrad],
  [FUSED.softmax, ['x'], softmax],
  [FUSED.softmaxGrad, ['p', 'dp'], softmaxGrad],
  [FUSED.silu, ['x'], activations.silu],
  [FUSED.siluGrad, ['x', 'dy'], activations.siluGrad],
  [FUSED.geglu, ['x'], activations.geglu],
  [FUSED.gegluGrad, ['x', 'dy'], activations.gegluGrad],
  [FUSED.columnSum, ['x'], columnSum],
];
