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

/** Side of the squares that are turned at a time: a row of one and a column of the other stay in the processor's cache. */
const SQUARE = 32;

/** What a weight's sizes are for both: outputs, inputs, and pixels of a kernel. */
const sizesOf = ({ shape, layout }: Laid): readonly [out: number, size: number, pixels: number] => {
  const [kh, kw, size, out] = layout === 'linear' ? [1, 1, shape[0], shape[1]] : shape;
  return [out, size, kh * kw];
};

/** Turns a weight from PyTorch's layout to TensorFlow.js's; `shape` is the one here. */
export function fromFile(data: Float32Array, laid: Laid): Float32Array {
  if (laid.layout === 'plain') return data;
  const [out, size, pixels] = sizesOf(laid);
  const row = size * pixels;
  const result = new Float32Array(data.length);
  for (let o0 = 0; o0 < out; o0 += SQUARE)
    for (let i0 = 0; i0 < size; i0 += SQUARE) {
      const [o1, i1] = [Math.min(out, o0 + SQUARE), Math.min(size, i0 + SQUARE)];
      for (let k = 0; k < pixels; k++)
        for (let i = i0; i < i1; i++) {
          const to = (k * size + i) * out;
          for (let o = o0, from = (o0 * size + i) * pixels + k; o < o1; o++, from += row) result[to + o] = data[from];
        }
    }
  return result;
}

/** Turns a weight from TensorFlow.js's layout to PyTorch's; `shape` is the one here. */
export function toFile(data: Float32Array, laid: Laid): Float32Array {
  if (laid.layout === 'plain') return data;
  const [out, size, pixels] = sizesOf(laid);
  const row = size * pixels;
  const result = new Float32Array(data.length);
  for (let o0 = 0; o0 < out; o0 += SQUARE)
    for (let i0 = 0; i0 < size; i0 += SQUARE) {
      const [o1, i1] = [Math.min(out, o0 + SQUARE), Math.min(size, i0 + SQUARE)];
      for (let k = 0; k < pixels; k++)
        for (let i = i0; i < i1; i++) {
          const from = (k * size + i) * out;
          for (let o = o0, to = (o0 * size + i) * pixels + k; o < o1; o++, to += row) result[to] = data[from + o];
        }
    }
  return result;
}

/** An adapter's matrix, or its convolution, in PyTorch's layout. */
export function toPyTorch({ shape, data }: TensorData): TensorData {
  const laid: Laid = { shape, layout: shape.length === 4 ? 'conv' : 'linear' };
  return { dtype: 'float32', shape: fileShape(laid), data: toFile(data as Float32Array, laid) };
}
