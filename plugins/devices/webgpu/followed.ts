import type { Tensor, TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { KernelCall } from '../compute/kernels.js';
import { tracked } from '../compute/tracked.js';
import type { WebGPUDevice } from './device.js';

/** Kernels by TensorFlow.js's names for what may follow a product. */
const ACTIVATIONS: Readonly<Record<string, string>> = {
  relu: 'Relu',
  relu6: 'Relu6',
  elu: 'Elu',
  sigmoid: 'Sigmoid',
  leakyrelu: 'LeakyRelu',
};

const run = (kernel: string, inputs: Record<string, TensorInfo>, attrs: object = {}): Tensor =>
  tf.engine().runKernel(kernel, inputs as never, attrs as never);

/**
 * A product with what else TensorFlow.js's fused kernels are asked for: a bias, where it was not `added` yet, and an activation. Their own products read the
 * second operand past its end and multiply what stands there with 0, which is no number where that is none.
 */
export function followed({ inputs, attrs }: KernelCall<WebGPUDevice>, added: TensorInfo | undefined, product: TensorInfo): TensorInfo {
  const activation = (attrs.activation ?? 'linear') as string;
  if (inputs.bias === added && activation === 'linear') return product;
  return tf.tidy(() => {
    let y = tracked(product);
    if (inputs.bias !== added) y = run('Add', { a: y, b: inputs.bias });
    if (activation === 'linear') return y;
    return activation === 'prelu'
      ? run('Prelu', { x: y, alpha: inputs.preluActivationWeights })
      : run(ACTIVATIONS[activation], { x: y }, { alpha: attrs.leakyreluAlpha });
  });
}
