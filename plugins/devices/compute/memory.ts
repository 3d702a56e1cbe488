import { engineInternals } from '../../../core/engine.js';
import type { Tensor } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';

/** Whether no other tensor looks at this one's memory, so that it may be written. */
export const isUnshared = (tensor: Tensor): boolean => tf.backend().refCount(tensor.dataId) === 1;

/** The tensor itself if no other looks at its memory, else a copy of it in its place. */
export function unshared(tensor: Tensor): Tensor {
  if (isUnshared(tensor) && tensor.dtype === 'float32') return tensor;
  const copy = tf.tidy(() => tensor.add(0));
  tensor.dispose();
  return copy;
}

/** Whether another backend than the current one holds the tensor: it was made before the device was chosen. */
export const isElsewhere = ({ dataId }: Tensor): boolean => engineInternals().state.tensorInfo.get(dataId)?.backend !== tf.backend();
