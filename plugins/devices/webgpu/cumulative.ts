import * as tf from '../../../core/tf.js';
import type { Kernel } from '../compute/kernels.js';
import type { WebGPUDevice } from './device.js';

/**
 * Sums or products from the end on as those of what is turned around: TensorFlow.js has one shader for all lengths there, with the first one's in it, which
 * adds up too little of what is longer, and reads past the end of what is shorter.
 */
export const cumulative =
  (kernel: 'Cumsum' | 'Cumprod') =>
  (original: Kernel<WebGPUDevice>): Kernel<WebGPUDevice> =>
  (call) => {
    const { inputs, attrs } = call;
    if (!attrs.reverse) return original(call);
    const run = (name: string, x: object, given: object) => tf.engine().runKernel(name, { x } as never, given as never) as tf.Tensor;
    const dims = [attrs.axis as number];
    return tf.tidy(() => run('Reverse', run(kernel, run('Reverse', inputs.x, { dims }), { ...attrs, reverse: false }), { dims }));
  };
