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

/** Side of the blocks that are turned at a time: a row of what is read and a column of what is written stay in the processor's cache. */
const BLOCK = 32;

/** [a, b, c] as [c, b, a]. */
function reversed(data: Float32Array, [a, b, c]: readonly [a: number, b: number, c: number]): Float32Array {
  const result = new Float32Array(data.length);
  for (let i0 = 0; i0 < a; i0 += BLOCK)
    for (let j0 = 0; j0 < b; j0 += BLOCK)
      for (let k0 = 0; k0 < c; k0 += BLOCK) {
        const [i1, j1, k1] = [Math.min(a, i0 + BLOCK), Math.min(b, j0 + BLOCK), Math.min(c, k0 + BLOCK)];
        for (let j = j0; j < j1; j++)
          for (let k = k0; k < k1; k++)
            for (let i = i0, from = (i0 * b + j) * c + k, to = (k * b + j) * a + i0; i < i1; i++, from += b * c) result[to++] = data[from];
      }
  return result;
}

/** A kernel's pixels, inputs and outputs, in the order in which they lie here: a file has them the other way round. */
const sizesOf = ({ shape, layout }: Laid): [pixels: number, size: number, out: number] =>
  layout === 'linear' ? [1, shape[0], shape[1]] : [shape[0] * shape[1], shape[2], shape[3]];

/** Turns a weight from PyTorch's layout to TensorFlow.js's; `shape` is the one here. */
export const fromFile = (data: Float32Array, laid: Laid): Float32Array => {
  if (laid.layout === 'plain') return data;
  const [pixels, size, out] = sizesOf(laid);
  return reversed(data, [out, size, pixels]);
};

/** Turns a weight from TensorFlow.js's layout to PyTorch's; `shape` is the one here. */
export const toFile = (data: Float32Array, laid: Laid): Float32Array => (laid.layout === 'plain' ? data : reversed(data, sizesOf(laid)));

/** An adapter's matrix, or its convolution, in PyTorch's layout. */
export function toPyTorch({ shape, data }: TensorData): TensorData {
  const laid: Laid = { shape, layout: shape.length === 4 ? 'conv' : 'linear' };
  return { dtype: 'float32', shape: fileShape(laid), data: toFile(data as Float32Array, laid) };
}
