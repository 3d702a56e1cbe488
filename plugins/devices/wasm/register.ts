import type { KernelFunc, Tensor4D, TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { FUSED } from '../compute/contract.js';
import { run, type WasmBackendParts } from './backend.js';
import * as fused from './fused.js';
import { registerWasmLists } from './lists.js';
import * as matrix from './matrix.js';
import { maxPoolGradient } from './pool.js';

type Call = { inputs: Record<string, TensorInfo>; attrs: Record<string, unknown>; backend: WasmBackendParts };

const register = (kernelName: string, kernelFunc: (call: Call) => TensorInfo | TensorInfo[]): void => {
  if (tf.getKernel(kernelName, 'wasm')) tf.unregisterKernel(kernelName, 'wasm');
  tf.registerKernel({ kernelName, backendName: 'wasm', kernelFunc: kernelFunc as unknown as KernelFunc });
};

/** Kernels that the backend lacks, or whose result is wrong, and that are rare: the cpu backend's, on copies. */
const BORROWED = [
  'DepthwiseConv2dNativeBackpropFilter',
  'DepthwiseConv2dNativeBackpropInput',
  'UnsortedSegmentSum',
  'Einsum',
  'Conv3DBackpropInputV2',
];

function borrow(kernelName: string): void {
  register(kernelName, ({ inputs, attrs, backend }) => {
    const kernel = tf.getKernel(kernelName, 'cpu');
    const cpu = tf.findBackend('cpu') as unknown as {
      makeTensorInfo(shape: number[], dtype: string, values: unknown): TensorInfo;
      readSync(id: object): Float32Array;
      disposeData(id: object): void;
    };
    const wasm = backend as unknown as {
      readSync(id: object): Float32Array;
      makeOutput(shape: number[], dtype: string): TensorInfo;
      typedArrayFromHeap(t: TensorInfo): Float32Array;
    };
    // Einsum takes a list, whose keys are its places.
    const copies = Object.fromEntries(
      Object.entries(inputs).map(([key, t]) => [key, cpu.makeTensorInfo(t.shape, t.dtype, wasm.readSync(t.dataId))]),
    );
    const given = Array.isArray(inputs) ? Object.values(copies) : copies;
    const result = kernel.kernelFunc({ inputs: given as never, attrs: attrs as never, backend: cpu as never }) as TensorInfo;
    const out = wasm.makeOutput(result.shape, result.dtype);
    wasm.typedArrayFromHeap(out).set(cpu.readSync(result.dataId));
    for (const t of [...Object.values(copies), result]) cpu.disposeData(t.dataId);
    return out;
  });
}

let done = false;

/** Registers our kernels for the wasm backend, which may use so many threads; call once it runs. */
export function registerWasmKernels(threads: number): void {
  if (done) return;
  done = true;
  for (const name of BORROWED) borrow(name);
  // The backend's own copies the numbers, although it counts references: every saved activation was written twice.
  register('Identity', ({ inputs: { x }, backend }) => {
    backend.incRef(x.dataId);
    return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
  });
  register('BatchMatMul', ({ inputs, attrs, backend }) =>
    matrix.matMul(backend, inputs.a, inputs.b, attrs.transposeA as boolean, attrs.transposeB as boolean),
  );

  const own = tf.getKernel('_FusedMatMul', 'wasm').kernelFunc;
  register('_FusedMatMul', (call) => {
    const { inputs, attrs, backend } = call;
    const { a, b, bias, preluActivationWeights } = inputs;
    const single = tf.util.sizeFromShape(a.shape.slice(0, -2)) === 1 && tf.util.sizeFromShape(b.shape.slice(0, -2)) === 1;
    const plain =
      !attrs.transposeA && !attrs.transposeB && single && (!bias || tf.util.sizeFromShape(bias.shape) === b.shape[b.shape.length - 1]);
    if (plain) return own(call as never) as TensorInfo;
    // The module's fused product leaves the bias out, or adds it wrongly, with transposes and batches.
    const product = matrix.matMul(backend, a, b, attrs.transposeA as boolean, attrs.transposeB as boolean);
    const sum = bias ? run('Add', backend, { a: product, b: bias }) : product;
    return attrs.activation ? activated(backend, sum, attrs, preluActivationWeights) : sum;
  });

  const info = (x: readonly number[], filter: readonly number[], { strides, pad, dimRoundingMode }: Record<string, unknown>) =>
    tf.backend_util.computeConv2DInfo(
      x as Tensor4D['shape'],
      filter as Tensor4D['shape'],
      strides as number,
      1,
      pad as number,
      dimRoundingMode as undefined,
    );
  register('Conv2DBackpropInput', ({ inputs, attrs, backend }) =>
    matrix.conv2dInputGradient(backend, inputs.dy, inputs.filter, info(attrs.inputShape as number[], inputs.filter.shape, attrs)),
  );
  register('Conv2DBackpropFilter', ({ inputs, attrs, backend }) =>
    matrix.conv2dFilterGradient(backend, inputs.x, inputs.dy, info(inputs.x.shape, attrs.filterShape as number[], attrs)),
  );

  register('MaxPoolGrad', ({ inputs: { dy, input }, attrs: { filterSize, strides, pad, dimRoundingMode }, backend }) => {
    const shape = input.shape as Tensor4D['shape'];
    return maxPoolGradient(
      backend,
      dy,
      input,
      tf.backend_util.computePool2DInfo(shape, filterSize as number, strides as number, 1, pad as number, dimRoundingMode as undefined),
    );
  });

  const add = (
    name: string,
    inputs: string[],
    compute: (backend: WasmBackendParts, tensors: TensorInfo[], attributes: never) => TensorInfo[],
  ) =>
    register(name, (call) =>
      compute(
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
  registerWasmLists(threads);
}

const ACTIVATIONS: Record<string, string> = {
  relu: 'Relu',
  relu6: 'Relu6',
  elu: 'Elu',
  sigmoid: 'Sigmoid',
  leakyrelu: 'LeakyRelu',
  prelu: 'Prelu',
};

function activated(backend: WasmBackendParts, x: TensorInfo, attrs: Record<string, unknown>, alpha?: TensorInfo): TensorInfo {
  const kernel = ACTIVATIONS[attrs.activation as string];
  if (!kernel) return x;
  return run(kernel, backend, alpha ? { x, alpha } : { x }, { alpha: attrs.leakyreluAlpha });
}
