import type { KernelFunc, Tensor4D, TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { FUSED } from '../compute/contract.js';
import type { WebGPUBackendParts } from './backend.js';
import * as fused from './fused.js';
import { registerWebGPULists } from './lists.js';
import * as matrix from './matrix.js';

type Call = { inputs: Record<string, TensorInfo>; attrs: Record<string, unknown>; backend: WebGPUBackendParts };

const replace = (kernelName: string, make: (own: KernelFunc | undefined) => (call: Call) => TensorInfo | TensorInfo[]): void => {
  const config = tf.getKernel(kernelName, 'webgpu');
  const own = config?.kernelFunc;
  if (config) tf.unregisterKernel(kernelName, 'webgpu');
  tf.registerKernel({ kernelName, backendName: 'webgpu', kernelFunc: make(own) as unknown as KernelFunc });
};

let done = false;

/** Registers our kernels for the webgpu backend: matrix products and convolutions in place of its own, and the fused ones. */
export function registerWebGPUKernels(): void {
  if (done) return;
  done = true;
  replace(
    'BatchMatMul',
    () =>
      ({ inputs, attrs, backend }) =>
        matrix.matMul(backend, inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean),
  );
  replace('_FusedMatMul', (own) => (call) => {
    const { inputs, attrs, backend } = call;
    const plain = !attrs.activation && !inputs.preluActivationWeights;
    if (!plain || (inputs.bias && inputs.bias.shape.length > 1)) return (own as KernelFunc)(call as never) as TensorInfo;
    return matrix.matMul(backend, inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean, inputs.bias);
  });
  const info = (x: readonly number[], filter: readonly number[], { strides, pad, dilations, dimRoundingMode }: Record<string, unknown>) =>
    tf.backend_util.computeConv2DInfo(
      x as Tensor4D['shape'],
      filter as Tensor4D['shape'],
      strides as number,
      (dilations ?? 1) as number,
      pad as number,
      dimRoundingMode as undefined,
    );
  const simple = (attrs: Record<string, unknown>) =>
    (attrs.dataFormat ?? 'NHWC') === 'NHWC' && [attrs.dilations ?? 1].flat().every((d) => d === 1) && !attrs.activation;
  replace('Conv2D', (own) => (call) => {
    const { inputs, attrs, backend } = call;
    if (!simple(attrs)) return (own as KernelFunc)(call as never) as TensorInfo;
    return matrix.conv2d(backend, inputs.x, inputs.filter, info(inputs.x.shape, inputs.filter.shape, attrs));
  });
  replace('FusedConv2D', (own) => (call) => {
    const { inputs, attrs, backend } = call;
    const plain = simple(attrs) && !inputs.preluActivationWeights && (!inputs.bias || inputs.bias.shape.length <= 1);
    if (!plain) return (own as KernelFunc)(call as never) as TensorInfo;
    return matrix.conv2d(backend, inputs.x, inputs.filter, info(inputs.x.shape, inputs.filter.shape, attrs), inputs.bias);
  });
  replace('Conv2DBackpropInput', (own) => (call) => {
    const { inputs, attrs, backend } = call;
    if (!simple(attrs)) return (own as KernelFunc)(call as never) as TensorInfo;
    return matrix.conv2dInputGradient(backend, inputs.dy, inputs.filter, info(attrs.inputShape as number[], inputs.filter.shape, attrs));
  });
  replace('Conv2DBackpropFilter', (own) => (call) => {
    const { inputs, attrs, backend } = call;
    if (!simple(attrs)) return (own as KernelFunc)(call as never) as TensorInfo;
    return matrix.conv2dFilterGradient(backend, inputs.x, inputs.dy, info(inputs.x.shape, attrs.filterShape as number[], attrs));
  });

  const add = (
    name: string,
    inputs: string[],
    run: (backend: WebGPUBackendParts, tensors: TensorInfo[], attributes: never) => TensorInfo[],
  ) =>
    replace(
      name,
      () => (call) =>
        run(
          call.backend,
          inputs.map((key) => call.inputs[key]),
          call.attrs as never,
        ),
    );
  add(FUSED.groupNorm, ['x', 'gamma', 'beta'], fused.groupNorm);
  add(FUSED.groupNormGrad, ['x', 'dy', 'gamma', 'beta'], fused.groupNormGrad);
  add(FUSED.layerNorm, ['x', 'gamma', 'beta'], fused.layerNorm);
  add(FUSED.layerNormGrad, ['x', 'dy', 'gamma'], fused.layerNormGrad);
  add(FUSED.softmax, ['x'], fused.softmax);
  add(FUSED.softmaxGrad, ['p', 'dp'], fused.softmaxGrad);
  add(FUSED.silu, ['x'], fused.silu);
  add(FUSED.siluGrad, ['x', 'dy'], fused.siluGrad);
  add(FUSED.geglu, ['x'], fused.geglu);
  add(FUSED.gegluGrad, ['x', 'dy'], fused.gegluGrad);
  add(FUSED.columnSum, ['x'], fused.columnSum);
  registerWebGPULists();
}
