import type { TensorInfo } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { WasmDevice } from './device.js';

/** What is added to a product or a convolution while it is written: a number a column, and a tensor like the result. */
export interface Added {
  readonly bias?: TensorInfo | undefined;
  readonly rest?: TensorInfo | undefined;
}

export interface MatMulOptions extends Added {
  /** The product, and that beside it, are multiplied with it before anything else is added. */
  readonly scale?: number | undefined;
  /** Another product, of [m, r] and [r, n] (or [n, r], as b is). */
  readonly more?: { readonly a: TensorInfo; readonly b: TensorInfo } | undefined;
}

export const PANEL = 8;
/** Rows that the module's kernels take at a time. */
export const ROWS = 24;

/** Where the elements of a second operand lie, in steps of elements: see assembly/tiles.ts. */
export interface Packing {
  readonly at: number;
  readonly matrices?: number;
  readonly taps?: number;
  readonly k: number;
  readonly n: number;
  readonly tapStep?: number;
  readonly rowStep: number;
  readonly columnStep: number;
  readonly scale?: number | undefined;
}

/** Packs an operand into memory that the next one gets again; its address. */
export function pack(
  device: WasmDevice,
  { at, matrices = 1, taps = 1, k, n, tapStep = 0, rowStep, columnStep, scale = 1 }: Packing,
): number {
  const panels = Math.ceil(n / PANEL);
  const numbers = matrices * panels * PANEL * taps * k;
  const out = device.scratch.at('packed', 4 * numbers);
  device.overBlocks('pack', [at, out, taps, k, n, tapStep, rowStep, columnStep, k * n, scale], matrices * panels, numbers);
  return out;
}

/** a [.., m, k] times b [.., k, n], of which one may have a single matrix for all of the other's, and what is added to it. */
export function matMul(
  device: WasmDevice,
  a: TensorInfo,
  b: TensorInfo,
  transposeA: boolean,
  transposeB: boolean,
  { bias, rest, scale, more }: MatMulOptions = {},
): TensorInfo {
  const [rows, k] = transposeA ? [a.shape[a.shape.length - 1], a.shape[a.shape.length - 2]] : a.shape.slice(-2);
  const n = transposeB ? b.shape[b.shape.length - 2] : b.shape[b.shape.length - 1];
  const [batchA, batchB] = [a, b].map(({ shape }) => tf.util.sizeFromShape(shape.slice(0, -2)));
  const outer = (a.shape.length >= b.shape.length ? a : b).shape.slice(0, -2);
  const out = device.newTensor([...outer, rows, n]);
  // Rows of several matrices times the same one are rows of one matrix.
  const [m, batch] = batchB === 1 && !transposeA ? [batchA * rows, 1] : [rows, Math.max(batchA, batchB)];
  const packed = pack(device, {
    at: device.address(b),
    matrices: batchB,
    k,
    n,
    ...(transposeB ? { rowStep: 1, columnStep: k } : { rowStep: n, columnStep: 1 }),
    scale,
  });
  const addresses = [device.address(a), packed, device.address(out), bias ? device.address(bias) : 0, rest ? device.address(rest) : 0];
  const steps = transposeA ? [1, m] : [k, 1];
  const batches = [batchA > 1 ? m * k : 0, batchB > 1 ? Math.ceil(n / PANEL) * PANEL * k : 0];
  device.overBlocks('product', [...addresses, m, k, n, ...steps, ...batches], batch * Math.ceil(m / ROWS), batch * m * k * n);
  if (more) {
    const sum = matMul(device, more.a, more.b, false, transposeB, { rest: out, scale });
    device.free(out);
    return sum;
  }
  return out;
}
