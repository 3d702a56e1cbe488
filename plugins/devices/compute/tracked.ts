import type { Tensor, TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';

/** A tensor of what no kernel of TensorFlow.js's registry has returned. */
export const tracked = (made: TensorInfo): Tensor => tf.engine().makeTensorFromTensorInfo(made) as Tensor;
