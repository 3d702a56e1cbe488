import type { Tensor, TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { Kernel } from '../compute/kernels.js';
import type { WebGPUDevice } from './device.js';

// TensorFlow.js's kernels that find places by what stands in a tensor do not look whether there are such places, where Dawn would limit them. Here such
// indices are made those of the nearest place, so that nothing is read or written that is not the tensors'.

/** The inputs that a kernel may be given, with its attributes. */
type Inputs = Readonly<Record<string, TensorInfo>>;

const nearest = (indices: TensorInfo, lengths: readonly number[]): Tensor => {
  const last = lengths.map((length) => length - 1);
  return tf.maximum(tf.minimum(indices as Tensor, tf.tensor1d(last, 'int32')), tf.scalar(0, 'int32'));
};

/** Indices [.., rank] of places along the first axes of a shape. */
const inShape = (indices: TensorInfo, shape: readonly number[]): Tensor => {
  const { length: axes, [axes - 1]: rank } = indices.shape;
  return nearest(indices, shape.slice(0, axes > 1 ? rank : 1));
};

/** What is counted, with what is below 0 past the last, where it is counted nowhere. */
const countable = (x: TensorInfo, size: unknown): Tensor =>
  tf.where(tf.less(x as Tensor, tf.scalar(0, 'int32')), tf.scalar(size as number, 'int32'), x as Tensor);

/** For each kernel its indices, limited. */
const LIMITED: Readonly<Record<string, (inputs: Inputs, attrs: Readonly<Record<string, unknown>>) => Record<string, Tensor>>> = {
  GatherNd: ({ params, indices }) => ({ indices: inShape(indices, params.shape) }),
  ScatterNd: ({ indices }, { shape }) => ({ indices: inShape(indices, shape as number[]) }),
  TensorScatterUpdate: ({ tensor, indices }) => ({ indices: inShape(indices, tensor.shape) }),
  SparseToDense: ({ sparseIndices }, { outputShape }) => ({ sparseIndices: inShape(sparseIndices, outputShape as number[]) }),
  Bincount: ({ x }, { size }) => ({ x: countable(x, size) }),
  DenseBincount: ({ x }, { size }) => ({ x: countable(x, size) }),
  SparseSegmentSum: ({ data, indices }) => ({ indices: nearest(indices, [data.shape[0]]) }),
  SparseSegmentMean: ({ data, indices }) => ({ indices: nearest(indices, [data.shape[0]]) }),
  CropAndResize: ({ image, boxInd }) => ({ boxInd: nearest(boxInd, [image.shape[0]]) }),
};

/** By name, kernels whose indices are limited to the places that there are. */
export const limited: Readonly<Record<string, (original: Kernel<WebGPUDevice>) => Kernel<WebGPUDevice>>> = Object.fromEntries(
  Object.entries(LIMITED).map(([name, limits]) => [
    name,
    (original: Kernel<WebGPUDevice>) => (call) =>
      tf.tidy(() => original({ ...call, inputs: { ...call.inputs, ...limits(call.inputs, call.attrs) } }) as never),
  ]),
);
