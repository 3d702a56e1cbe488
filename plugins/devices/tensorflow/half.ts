import type { Tensor, TensorInfo } from '../../../core/tf.js';
import type { HalfPrecision } from '../compute/contract.js';
import { override, type Undo } from '../compute/undo.js';
import type { Constants } from './constants.js';
import { type Attribute, currentBackend, type Output, type TensorFlowBackend } from './internals.js';

// Half precision is a matter of storage: a tensor stays float32 by name, and its handle is one of TensorFlow's float16. All kernels of the package go
// through two functions, which are replaced here: what they are given they hand on in the one precision or the other.

/** TensorFlow's number for float16, which the package's addon does not name. */
const TF_HALF = 19;

/** What is computed in half precision if any of the operands is: cuBLAS and cuDNN multiply on tensor cores, and add up in float32. */
const PRODUCTS = new Set(['BatchMatMulV2', 'Conv2D', 'Conv2DBackpropInput', 'Conv2DBackpropFilter']);

/** What is if all of them are, but for a bias [c]: numbers are moved, or rounded once. Everything else is given float32 copies. */
const ALIKE = new Set(['Add', 'Sub', 'Mul', 'Sigmoid', 'Reshape', 'Transpose', 'ConcatV2', 'SplitV', 'Slice', 'ResizeNearestNeighbor']);

const isHalf = (x: TensorInfo): boolean => x.dtype === 'float32' && currentBackend().tensorMap.get(x.dataId).dtype === TF_HALF;

/** A handle of the same numbers in the other precision: from float16, or to it. The caller deletes it. */
function converted(id: number, fromHalf: boolean): Output {
  const { executeOp, TF_ATTR_TYPE, TF_ATTR_BOOL, TF_FLOAT } = currentBackend().binding;
  const attributes = [
    { name: 'SrcT', type: TF_ATTR_TYPE, value: fromHalf ? TF_HALF : TF_FLOAT },
    { name: 'DstT', type: TF_ATTR_TYPE, value: fromHalf ? TF_FLOAT : TF_HALF },
    { name: 'Truncate', type: TF_ATTR_BOOL, value: false },
  ];
  return executeOp('Cast', attributes, [id], 1)[0];
}

/** Runs an operation in the precision that it and its operands ask for. */
function execute(
  backend: TensorFlowBackend,
  constants: Constants,
  name: string,
  attributes: readonly Attribute[],
  inputs: readonly Tensor[],
  outputs: number,
): Tensor[] {
  const { binding } = backend;
  const stored = inputs.map(isHalf);
  const comesAlong = (x: Tensor, i: number) => stored[i] || x.dtype !== 'float32' || (name === 'Add' && x.shape.length === 1);
  const half = stored.includes(true) && (PRODUCTS.has(name) || (ALIKE.has(name) && inputs.every(comesAlong)));
  const copies: number[] = [];
  try {
    const handles = inputs.map((x, i) => {
      const id = constants.handle(x) ?? backend.getInputTensorIds([x])[0];
      if (stored[i] === half || x.dtype !== 'float32') return id;
      const copy = converted(id, stored[i]).id;
      copies.push(copy);
      return copy;
    });
    const typed = half ? attributes.map((one) => (one.name === 'T' ? { ...one, value: TF_HALF } : one)) : attributes;
    return binding.executeOp(name, typed, handles, outputs).map((made) => backend.createOutputTensor(made));
  } finally {
    for (const id of copies) binding.deleteTensor(id);
  }
}

/** Has the backend's kernels read and write what is stored in half precision, and read constants where they are kept. */
export function knowHalf(backend: TensorFlowBackend, constants: Constants): Undo {
  const { createOutputTensor, readSync } = backend;
  return override(backend, {
    createOutputTensor(made) {
      if (made.dtype !== TF_HALF) return createOutputTensor.call(backend, made);
      const tensor = createOutputTensor.call(backend, { ...made, dtype: backend.binding.TF_FLOAT });
      backend.tensorMap.get(tensor.dataId).dtype = TF_HALF;
      return tensor;
    },
    executeSingleOutput: (name, attributes, inputs) => execute(backend, constants, name, attributes, inputs, 1)[0],
    executeMultipleOutputs: (name, attributes, inputs, outputs) => execute(backend, constants, name, attributes, inputs, outputs),
    readSync(dataId) {
      const { dtype, id } = backend.tensorMap.get(dataId);
      if (dtype !== TF_HALF) return readSync.call(backend, dataId);
      const copy = converted(id, true).id;
      try {
        return backend.binding.tensorDataSync(copy);
      } finally {
        backend.binding.deleteTensor(copy);
      }
    },
  });
}

/** A copy in the other precision. */
const copied = (x: Tensor, fromHalf: boolean): Tensor => {
  const backend = currentBackend();
  return backend.createOutputTensor(converted(backend.getInputTensorIds([x])[0], fromHalf));
};

/** Half precision for who does not know the device. */
export const precision: HalfPrecision = {
  isHalf,
  fits: () => true,
  half: (x) => (isHalf(x) ? x.clone() : copied(x, false)),
  full: (x) => (isHalf(x) ? copied(x, true) : x.clone()),
  async store(x) {
    const half = precision.half(x);
    x.dispose();
    return half;
  },
};
