import type { Tensor, TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';

/** A tensor of what no kernel of TensorFlow.js's registry has returned. */
export const tracked = (made: TensorInfo): Tensor => tf.engine().makeTensorFromTensorInfo(made) as Tensor;
