import type { TensorData } from '../../../core/index.js';

/** How a weight lies in PyTorch's files: linear [out, in], conv [out, in, h, w], plain as it is here. */
export type Layout = 'linear' | 'conv' | 'plain';

/** A weight's shape here (linear [in, out], conv [h, w, in, out]), and how it lies in a file. */
export interface Laid {
  readonly shape: readonly number[];
  readonly layout: Layout;
}

/** The shape a weight has in PyTorch's files. */
export function fileShape({ shape, layout }: Laid): number[] {
  if (layout === 'linear') return [shape[1], shape[0]];
  if (layout === 'conv') return [shape[3], shape[2], shape[0], shape[1]];
  return [...shape];
}

/** The shape here of what a file holds: undoes {@link fileShape}. */
export function shapeOfFile({ shape, layout }: Laid): number[] {
  if (layout === 'linear') return [shape[1], shape[0]];
  if (layout === 'conv') return [shape[2], shape[3], shape[1], shape[0]];
  return [...shape];
}

/** Turns a weight from PyTorch's layout to TensorFlow.js's; `shape` is the one here. */
export function fromFile(data: Float32Array, { shape, layout }: Laid): Float32Array {
  if (layout === 'plain') return data;
  const [kh, kw, size, out] = layout === 'linear' ? [1, 1, shape[0], shape[1]] : shape;
  const result = new Float32Array(data.length);
  for (let o = 0; o < out; o++)
    for (let i = 0; i < size; i++) for (let k = 0; k < kh * kw; k++) result[(k * size + i) * out + o] = data[(o * size + i) * kh * kw + k];
  return result;
}

/** Turns a weight from TensorFlow.js's layout to PyTorch's; `shape` is the one here. */
export function toFile(data: Float32Array, { shape, layout }: Laid): Float32Array {
  if (layout === 'plain') return data;
  const [kh, kw, size, out] = layout === 'linear' ? [1, 1, shape[0], shape[1]] : shape;
  const result = new Float32Array(data.length);
  for (let o = 0; o < out; o++)
    for (let i = 0; i < size; i++) for (let k = 0; k < kh * kw; k++) result[(o * size + i) * kh * kw + k] = data[(k * size + i) * out + o];
  return result;
}

/** An adapter's matrix, or its convolution, in PyTorch's layout. */
export function toPyTorch({ shape, data }: TensorData): TensorData {
  const laid: Laid = { shape, layout: shape.length === 4 ? 'conv' : 'linear' };
  return { dtype: 'float32', shape: fileShape(laid), data: toFile(data as Float32Array, laid) };
}
