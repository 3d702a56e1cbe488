import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import { address, floats, free, run, startOf, type WasmBackendParts } from './backend.js';
import { kernelsOf } from './module.js';

type Multiply = (
  a: number,
  aShape: Uint8Array,
  aRank: number,
  b: number,
  bShape: Uint8Array,
  bRank: number,
  ta: number,
  tb: number,
  out: number,
) => void;

const multipliers = new WeakMap<WasmBackendParts, Multiply>();

/** The module's own product. XNNPACK's fast one is behind it for a batch of 1 without transposes only. */
function multiplier(backend: WasmBackendParts): Multiply {
  let found = multipliers.get(backend);
  if (!found) {
    found = backend.wasm.cwrap('BatchMatMul', null, [
      'number',
      'array',
      'number',
      'number',
      'array',
      'number',
      'number',
      'number',
      'number',
    ]) as unknown as Multiply;
    multipliers.set(backend, found);
  }
  return found;
}

const shapeBytes = (shape: readonly number[]) => new Uint8Array(new Int32Array(shape).buffer);

/** The last two axes in each other's place. */
export function transposed(backend: WasmBackendParts, x: TensorInfo): TensorInfo {
  const rank = x.shape.length;
  const perm = x.shape.map((_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
  return run('Transpose', backend, { x }, { perm });
}

/** Products of a batch smaller than this, in multiplications, cost XNNPACK more to begin than to do. */
const SMALL = 1 << 19;
/** With so few rows or columns (adapters have them) XNNPACK is busy packing the other operand. */
const NARROW = 16;

/** a [.., m, k] times b [.., k, n]; small products of a batch go to our own module, others through XNNPACK on views into the heap. */
export function matMul(backend: WasmBackendParts, a: TensorInfo, b: TensorInfo, transposeA: boolean, transposeB: boolean): TensorInfo {
  const [rows, inner] = transposeA ? [a.shape[a.shape.length - 1], a.shape[a.shape.length - 2]] : a.shape.slice(-2);
  const columns = transposeB ? b.shape[b.shape.length - 2] : b.shape[b.shape.length - 1];
  if (rows * inner * columns < SMALL || Math.min(rows, columns) <= NARROW)
    return smallMatMul(backend, a, b, transposeA, transposeB, rows, inner, columns);
  const left = transposeA ? transposed(backend, a) : a;
  const right = transposeB ? transposed(backend, b) : b;
  const [m, k] = left.shape.slice(-2);
  const n = right.shape[right.shape.length - 1];
  const [batchA, batchB] = [tf.util.sizeFromShape(left.shape.slice(0, -2)), tf.util.sizeFromShape(right.shape.slice(0, -2))];
  const batch = Math.max(batchA, batchB);
  const outer = (left.shape.length >= right.shape.length ? left : right).shape.slice(0, -2);
  const out = backend.makeOutput([...outer, m, n], 'float32');
  const multiply = multiplier(backend);
  const [aShape, bShape] = [shapeBytes([1, m, k]), shapeBytes([1, k, n])];
  const { tfjs } = backend.wasm;
  const offset = (t: TensorInfo) => backend.dataIdMap.get(t.dataId).memoryOffset;
  const [aAt, bAt, outAt] = [offset(left), offset(right), offset(out)];
  // Numbers of their own for the views: a weight's own number may be packed for a convolution already.
  const first = backend.dataIdNextNumber;
  backend.dataIdNextNumber += 3;
  for (let i = 0; i < batch; i++) {
    tfjs.registerTensor(first, m * k, aAt + (batchA > 1 ? i * m * k * 4 : 0));
    tfjs.registerTensor(first + 1, k * n, bAt + (batchB > 1 ? i * k * n * 4 : 0));
    tfjs.registerTensor(first + 2, m * n, outAt + i * m * n * 4);
    multiply(first, aShape, 3, first + 1, bShape, 3, 0, 0, first + 2);
    for (let j = 0; j < 3; j++) tfjs.disposeData(first + j);
  }
  if (left !== a) free(backend, left);
  if (right !== b) free(backend, right);
  return out;
}

function smallMatMul(
  backend: WasmBackendParts,
  a: TensorInfo,
  b: TensorInfo,
  transposeA: boolean,
  transposeB: boolean,
  m: number,
  k: number,
  n: number,
): TensorInfo {
  const right = transposeB ? transposed(backend, b) : b;
  const [batchA, batchB] = [tf.util.sizeFromShape(a.shape.slice(0, -2)), tf.util.sizeFromShape(b.shape.slice(0, -2))];
  const outer = (a.shape.length >= b.shape.length ? a : b).shape.slice(0, -2);
  const out = backend.makeOutput([...outer, m, n], 'float32');
  const [at, strides] = [address(backend, a), transposeA ? [1, m] : [k, 1]];
  const batch = Math.max(batchA, batchB);
  kernelsOf(backend).multiply(
    at,
    address(backend, right),
    address(backend, out),
    batch,
    m,
    k,
    n,
    strides[0],
    strides[1],
    batchA > 1 ? m * k : 0,
    batchB > 1 ? k * n : 0,
  );
  if (right !== b) free(backend, right);
  return out;
}

/** What both convolution gradients need to know. */
export interface ConvSizes {
  readonly batchSize: number;
  readonly inHeight: number;
  readonly inWidth: number;
  readonly inChannels: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly outChannels: number;
  readonly filterHeight: number;
  readonly filterWidth: number;
  readonly strideHeight: number;
  readonly strideWidth: number;
  readonly padInfo: { readonly top: number; readonly left: number };
}

/** dx as a convolution of dy (spread out by the stride) with the filter turned round and its channels exchanged. */
export function conv2dInputGradient(backend: WasmBackendParts, dy: TensorInfo, filter: TensorInfo, c: ConvSizes): TensorInfo {
  const [kh, kw, ci, co] = filter.shape;
  const turned = backend.makeOutput([kh, kw, co, ci], 'float32');
  const [spreadH, spreadW] = [(c.outHeight - 1) * c.strideHeight + 1, (c.outWidth - 1) * c.strideWidth + 1];
  const strided = c.strideHeight > 1 || c.strideWidth > 1;
  const spread = strided ? backend.makeOutput([c.batchSize, spreadH, spreadW, co], 'float32') : dy;
  const memory = floats(backend);
  const [from, to] = [startOf(backend, filter), startOf(backend, turned)];
  for (let tap = 0; tap < kh * kw; tap++) {
    const source = from + tap * ci * co;
    const target = to + (kh * kw - 1 - tap) * ci * co;
    for (let i = 0; i < ci; i++) for (let o = 0; o < co; o++) memory[target + o * ci + i] = memory[source + i * co + o];
  }
  if (strided) {
    const [source, target] = [startOf(backend, dy), startOf(backend, spread)];
    memory.fill(0, target, target + tf.util.sizeFromShape(spread.shape));
    let at = source;
    for (let n = 0; n < c.batchSize; n++)
      for (let y = 0; y < c.outHeight; y++)
        for (let x = 0; x < c.outWidth; x++, at += co)
          memory.copyWithin(target + ((n * spreadH + y * c.strideHeight) * spreadW + x * c.strideWidth) * co, at, at + co);
  }
  const [top, left] = [kh - 1 - c.padInfo.top, kw - 1 - c.padInfo.left];
  const [bottom, right] = [c.inHeight - spreadH - top + kh - 1, c.inWidth - spreadW - left + kw - 1];
  const out = run(
    'Conv2D',
    backend,
    { x: spread, filter: turned },
    {
      strides: 1,
      pad: [
        [0, 0],
        [top, bottom],
        [left, right],
        [0, 0],
      ],
      dataFormat: 'NHWC',
      dilations: 1,
    },
  );
  free(backend, turned);
  if (strided) free(backend, spread);
  return out;
}

/** The most numbers of gathered pixels that are laid out at once. */
const GATHERED = 1 << 23;

/** dw as dy transposed times the pixels under each place of the filter, gathered row by row. */
export function conv2dFilterGradient(backend: WasmBackendParts, x: TensorInfo, dy: TensorInfo, c: ConvSizes): TensorInfo {
  if (c.outChannels <= NARROW) {
    const out = backend.makeOutput([c.filterHeight, c.filterWidth, c.inChannels, c.outChannels], 'float32');
    kernelsOf(backend).filterGradient(
      address(backend, x),
      address(backend, dy),
      address(backend, out),
      c.batchSize,
      c.inHeight,
      c.inWidth,
      c.inChannels,
      c.outHeight,
      c.outWidth,
      c.outChannels,
      c.filterHeight,
      c.filterWidth,
      c.strideHeight,
      c.strideWidth,
      c.padInfo.top,
      c.padInfo.left,
    );
    return out;
  }
  const taps = c.filterHeight * c.filterWidth * c.inChannels;
  const area = c.outHeight * c.outWidth;
  const perChunk = Math.max(1, Math.min(c.batchSize, Math.floor(GATHERED / (area * taps))));
  let sum: TensorInfo | null = null;
  for (let n = 0; n < c.batchSize; n += perChunk) {
    const count = Math.min(perChunk, c.batchSize - n);
    const pixels = backend.makeOutput([count * area, taps], 'float32');
    const some = backend.makeOutput([count * area, c.outChannels], 'float32');
    const memory = floats(backend);
    const start = startOf(backend, dy) + n * area * c.outChannels;
    memory.copyWithin(startOf(backend, some), start, start + count * area * c.outChannels);
    gather(memory, startOf(backend, x) + n * c.inHeight * c.inWidth * c.inChannels, startOf(backend, pixels), count, c);
    const part = matMul(backend, some, pixels, true, false);
    free(backend, pixels, some);
    if (sum) {
      const [into, from] = [startOf(backend, sum), startOf(backend, part)];
      const memory = floats(backend);
      for (let i = 0; i < taps * c.outChannels; i++) memory[into + i] += memory[from + i];
      free(backend, part);
    } else sum = part;
  }
  const turned = transposed(backend, sum as TensorInfo);
  free(backend, sum as TensorInfo);
  return { ...turned, shape: [c.filterHeight, c.filterWidth, c.inChannels, c.outChannels] };
}

/** Writes, per output pixel, the filter-sized patch of the image below it; zeros in the padding. */
function gather(memory: Float32Array, image: number, out: number, count: number, c: ConvSizes): void {
  const { inChannels: ci, filterHeight: kh, filterWidth: kw } = c;
  const rowSize = kw * ci;
  let at = out;
  for (let n = 0; n < count; n++)
    for (let oy = 0; oy < c.outHeight; oy++)
      for (let ox = 0; ox < c.outWidth; ox++) {
        const left = ox * c.strideWidth - c.padInfo.left;
        const [skip, end] = [Math.max(0, -left), Math.min(kw, c.inWidth - left)];
        for (let ky = 0; ky < kh; ky++, at += rowSize) {
          const y = oy * c.strideHeight - c.padInfo.top + ky;
          if (y < 0 || y >= c.inHeight) {
            memory.fill(0, at, at + rowSize);
            continue;
          }
          if (skip > 0) memory.fill(0, at, at + skip * ci);
          if (end < kw) memory.fill(0, at + end * ci, at + rowSize);
          const source = image + ((n * c.inHeight + y) * c.inWidth + left + skip) * ci;
          memory.copyWithin(at + skip * ci, source, source + (end - skip) * ci);
        }
      }
}
