import type { Tensor } from '../../../core/tf.js';
import type { CodeStorage } from '../compute/contract.js';
import { currentBackend } from './internals.js';

function cast(x: Tensor, from: number, to: number): Tensor {
  const backend = currentBackend();
  const { TF_ATTR_TYPE, TF_ATTR_BOOL } = backend.binding;
  const attributes = [
    { name: 'SrcT', type: TF_ATTR_TYPE, value: from },
    { name: 'DstT', type: TF_ATTR_TYPE, value: to },
    { name: 'Truncate', type: TF_ATTR_BOOL, value: false },
  ];
  return backend.executeSingleOutput('Cast', attributes, [x]);
}

/** One byte each: TensorFlow.js goes on calling them int32. */
export const codes: CodeStorage = {
  store(integers) {
    const { TF_INT32, TF_UINT8 } = currentBackend().binding;
    return cast(integers, TF_INT32, TF_UINT8);
  },
  load(stored) {
    const { TF_INT32, TF_UINT8 } = currentBackend().binding;
    return cast(stored, TF_UINT8, TF_INT32);
  },
  nearest(x, edges) {
    const backend = currentBackend();
    const { TF_ATTR_TYPE, TF_ATTR_FLOAT, TF_FLOAT } = backend.binding;
    const attributes = [
      { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT },
      { name: 'boundaries', type: TF_ATTR_FLOAT, value: edges },
    ];
    return backend.executeSingleOutput('Bucketize', attributes, [x]);
  },
};
