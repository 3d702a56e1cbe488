import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { DeviceOperations } from './contract.js';
import { tracked } from './tracked.js';

/** A product of matrices on a device, and what is added to it. */
type MatrixProduct<Options> = (a: TensorInfo, b: TensorInfo, transposeA: boolean, transposeB: boolean, options: Options) => TensorInfo;

interface Added {
  readonly scale?: number;
  readonly bias?: TensorInfo | undefined;
  readonly rest?: TensorInfo | undefined;
  readonly more?: { readonly a: TensorInfo; readonly b: TensorInfo; readonly transposeB: boolean } | undefined;
  readonly full?: boolean;
}

/** A tensor with all axes but the last as rows: the same numbers. */
const rowsOf = ({ dataId, shape, dtype }: TensorInfo): TensorInfo => {
  const columns = shape[shape.length - 1];
  return { dataId, shape: [tf.util.sizeFromShape(shape.slice(0, -1)), columns], dtype };
};

/** The operation `product` of what multiplies matrices. */
export const rowProduct =
  (multiply: MatrixProduct<Added>): DeviceOperations['product'] =>
  (a, b, { transposeA = false, transposeB = false, rest, more, ...added }) => {
    const made = multiply(rowsOf(a), rowsOf(b), transposeA, transposeB, {
      ...added,
      rest: rest && rowsOf(rest),
      more: more && { a: rowsOf(more.a), b: rowsOf(more.b), transposeB },
    });
    const shape = transposeA ? made.shape : [...a.shape.slice(0, -1), made.shape[1]];
    return tracked({ ...made, shape });
  };
