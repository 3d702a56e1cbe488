import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WebGPUBackendParts } from './backend.js';
import { buffers, dispatch } from './dispatch.js';

/**
 * One tiled matrix product in WGSL for everything that is one: products, batched ones, convolutions and both of their
 * gradients (as implicit products: the operand is gathered while it is loaded, never written out).
 */
export interface Product {
  /** See {@link Dispatch.name}. */
  readonly name: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch?: number;
  /** WGSL expressions for element (row, inner) of a and (inner, column) of b, in `row`, `inner`, `column`, `batch`: all u32. */
  readonly a: string;
  readonly b: string;
  /** Expression added to each result, in `column`. */
  readonly bias?: string;
  readonly functions?: string;
  readonly read: readonly string[];
}

/** 256 threads compute a tile of rows x columns; each holds (rows / 16) x (columns / 16) sums in registers. */
function tiles(m: number, n: number, batch: number): [number, number] {
  const groups = (tm: number, tn: number) => Math.ceil(m / tm) * Math.ceil(n / tn) * batch;
  // Tiles that waste little on the edges come first; small ones where the large leave multiprocessors idle.
  if (n <= 16) return [64, 16];
  const columns = n % 64 === 0 || n > 128 ? 64 : n % 32 === 0 || n <= 32 ? 32 : n % 48 === 0 ? 48 : 64;
  if (m >= 64 && groups(64, columns) >= 128) return [64, columns];
  return [32, Math.min(columns, 32)];
}

const INNER = 16;

function shader(p: Product, slices: number): { name: string; code: () => string; groups: [number, number, number] } {
  const batch = p.batch ?? 1;
  const [rows, columns] = tiles(p.m, p.n, batch * slices);
  const [perRow, perColumn] = [rows / 16, columns / 16];
  const depth = Math.ceil(p.k / slices / INNER) * INNER;
  const loads = (size: number, body: (at: string) => string) => `for (var e = local; e < ${size}u; e += 256u) { ${body('e')} }`;
  const each = (count: number, body: (i: number) => string) => Array.from({ length: count }, (_, i) => body(i)).join('\n');
  const code = () => `${buffers(p.read, ['result'])}
var<workgroup> tileA: array<f32, ${INNER * (rows + 1)}>;
var<workgroup> tileB: array<f32, ${INNER * columns}>;
${p.functions ?? ''}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let firstColumn = group.x * ${columns}u;
  let firstRow = group.y * ${rows}u;
  let batch = group.z ${slices > 1 ? `/ ${slices}u` : ''};
  let slice = ${slices > 1 ? `group.z % ${slices}u` : '0u'};
  let myRow = local / 16u;
  let myColumn = local % 16u;
  ${each(perRow * perColumn, (i) => `var s${i} = 0f;`)}
  let start = slice * ${depth}u;
  let end = min(${p.k}u, start + ${depth}u);
  for (var base = start; base < end; base += ${INNER}u) {
    ${loads(
      rows * INNER,
      (e) => `let r = ${e} / ${INNER}u; let q = ${e} % ${INNER}u; let row = firstRow + r; let inner = base + q;
      var value = 0f; if (row < ${p.m}u && inner < end) { value = ${p.a}; } tileA[q * ${rows + 1}u + r] = value;`,
    )}
    ${loads(
      columns * INNER,
      (e) => `let q = ${e} / ${columns}u; let c = ${e} % ${columns}u; let column = firstColumn + c; let inner = base + q;
      var value = 0f; if (column < ${p.n}u && inner < end) { value = ${p.b}; } tileB[q * ${columns}u + c] = value;`,
    )}
    workgroupBarrier();
    for (var q = 0u; q < ${INNER}u; q++) {
      ${each(perRow, (i) => `let a${i} = tileA[q * ${rows + 1}u + myRow + ${16 * i}u];`)}
      ${each(perColumn, (j) => `let b${j} = tileB[q * ${columns}u + myColumn + ${16 * j}u];`)}
      ${each(perRow, (i) => each(perColumn, (j) => `s${i * perColumn + j} = fma(a${i}, b${j}, s${i * perColumn + j});`))}
    }
    workgroupBarrier();
  }
  let offset = (batch * ${slices}u + slice) * ${p.m * p.n}u;
  ${each(perRow, (i) =>
    each(
      perColumn,
      (j) => `{ let row = firstRow + myRow + ${16 * i}u; let column = firstColumn + myColumn + ${16 * j}u;
    if (row < ${p.m}u && column < ${p.n}u) { result[offset + row * ${p.n}u + column] = s${i * perColumn + j}${p.bias && slices === 1 ? ` + ${p.bias}` : ''}; } }`,
    ),
  )}
}`;
  return { name: `${p.name} ${slices}`, code, groups: [Math.ceil(p.n / columns), Math.ceil(p.m / rows), batch * slices] };
}

/** Computes the product into a new tensor of `shape`. A long inner axis is cut in slices that are added afterwards. */
export function product(backend: WebGPUBackendParts, p: Product, inputs: readonly TensorInfo[], shape: number[]): TensorInfo {
  const batch = p.batch ?? 1;
  const [rows, columns] = tiles(p.m, p.n, batch);
  const groups = Math.ceil(p.m / rows) * Math.ceil(p.n / columns) * batch;
  const slices = p.bias || groups >= 96 || p.k < 512 ? 1 : Math.min(Math.ceil(256 / groups), Math.ceil(p.k / 128));
  const out = backend.makeTensorInfo(shape, 'float32');
  if (tf.util.sizeFromShape(shape) === 0) return out;
  if (slices === 1) {
    dispatch(backend, { ...shader(p, 1), tensors: [...inputs, out] });
    return out;
  }
  const parts = backend.makeTensorInfo([batch, slices, p.m, p.n], 'float32');
  dispatch(backend, { ...shader(p, slices), tensors: [...inputs, parts] });
  const size = p.m * p.n;
  dispatch(backend, {
    name: 'addSlices',
    code: () => `${buffers(['parts'], ['result'])}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) gid: vec3u) {
  if (gid.x >= ${size}u) { return; }
  var sum = 0f;
  for (var s = 0u; s < ${slices}u; s++) { sum += parts[(gid.y * ${slices}u + s) * ${size}u + gid.x]; }
  result[gid.y * ${size}u + gid.x] = sum;
}`,
    tensors: [parts, out],
    groups: [Math.ceil(size / 64), batch],
  });
  backend.disposeData(parts.dataId);
  return out;
}

/** a [.., m, k] times b [.., k, n], either transposed; a batch of 1 is shared. */
export function matMul(
  backend: WebGPUBackendParts,
  a: TensorInfo,
  b: TensorInfo,
  transposeA: boolean,
  transposeB: boolean,
  bias?: TensorInfo,
): TensorInfo {
  const [ra, rb] = [a.shape.length, b.shape.length];
  const [m, k] = transposeA ? [a.shape[ra - 1], a.shape[ra - 2]] : [a.shape[ra - 2], a.shape[ra - 1]];
  const n = transposeB ? b.shape[rb - 2] : b.shape[rb - 1];
  const [batchA, batchB] = [tf.util.sizeFromShape(a.shape.slice(0, -2)), tf.util.sizeFromShape(b.shape.slice(0, -2))];
  const batch = Math.max(batchA, batchB);
  const outer = (ra >= rb ? a.shape : b.shape).slice(0, -2);
  const atBatch = (count: number, size: number) => (count > 1 ? `batch * ${size}u + ` : '');
  return product(
    backend,
    {
      name: `product ${transposeA} ${transposeB}`,
      m,
      n,
      k,
      batch,
      a: `a[${atBatch(batchA, m * k)}${transposeA ? `inner * ${m}u + row` : `row * ${k}u + inner`}]`,
      b: `b[${atBatch(batchB, k * n)}${transposeB ? `column * ${k}u + inner` : `inner * ${n}u + column`}]`,
      ...(bias ? { bias: 'bias[column]' } : {}),
      read: bias ? ['a', 'b', 'bias'] : ['a', 'b'],
    },
    bias ? [a, b, bias] : [a, b],
    [...outer, m, n],
  );
}

/** A convolution's sizes, as tf.backend_util.computeConv2DInfo gives them. */
export interface ConvInfo {
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

/** Reads x at an output pixel and a place in the filter; 0 in the padding. */
const gatherX = (c: ConvInfo): string => `fn gatherX(pixel: u32, tap: u32) -> f32 {
  let ow = pixel % ${c.outWidth}u; let oh = (pixel / ${c.outWidth}u) % ${c.outHeight}u; let n = pixel / ${c.outWidth * c.outHeight}u;
  let channel = tap % ${c.inChannels}u; let kw = (tap / ${c.inChannels}u) % ${c.filterWidth}u; let kh = tap / ${c.inChannels * c.filterWidth}u;
  let y = i32(oh * ${c.strideHeight}u + kh) - ${c.padInfo.top}; let x = i32(ow * ${c.strideWidth}u + kw) - ${c.padInfo.left};
  if (y < 0 || y >= ${c.inHeight} || x < 0 || x >= ${c.inWidth}) { return 0f; }
  return image[((n * ${c.inHeight}u + u32(y)) * ${c.inWidth}u + u32(x)) * ${c.inChannels}u + channel];
}`;

export function conv2d(backend: WebGPUBackendParts, x: TensorInfo, w: TensorInfo, c: ConvInfo, bias?: TensorInfo): TensorInfo {
  return product(
    backend,
    {
      name: `conv2d ${c.strideHeight} ${c.strideWidth} ${c.padInfo.top} ${c.padInfo.left}`,
      m: c.batchSize * c.outHeight * c.outWidth,
      n: c.outChannels,
      k: c.filterHeight * c.filterWidth * c.inChannels,
      a: 'gatherX(row, inner)',
      b: `filters[inner * ${c.outChannels}u + column]`,
      ...(bias ? { bias: 'bias[column]' } : {}),
      functions: gatherX(c),
      read: bias ? ['image', 'filters', 'bias'] : ['image', 'filters'],
    },
    bias ? [x, w, bias] : [x, w],
    [c.batchSize, c.outHeight, c.outWidth, c.outChannels],
  );
}

export function conv2dInputGradient(backend: WebGPUBackendParts, dy: TensorInfo, w: TensorInfo, c: ConvInfo): TensorInfo {
  return product(
    backend,
    {
      name: `conv2dInputGradient ${c.strideHeight} ${c.strideWidth} ${c.padInfo.top} ${c.padInfo.left}`,
      m: c.batchSize * c.inHeight * c.inWidth,
      n: c.inChannels,
      k: c.filterHeight * c.filterWidth * c.outChannels,
      a: 'gatherDy(row, inner)',
      b: `filters[((inner / ${c.outChannels}u) * ${c.inChannels}u + column) * ${c.outChannels}u + inner % ${c.outChannels}u]`,
      functions: `fn gatherDy(pixel: u32, tap: u32) -> f32 {
  let iw = pixel % ${c.inWidth}u; let ih = (pixel / ${c.inWidth}u) % ${c.inHeight}u; let n = pixel / ${c.inWidth * c.inHeight}u;
  let channel = tap % ${c.outChannels}u; let kw = (tap / ${c.outChannels}u) % ${c.filterWidth}u; let kh = tap / ${c.outChannels * c.filterWidth}u;
  let y = i32(ih) + ${c.padInfo.top} - i32(kh); let x = i32(iw) + ${c.padInfo.left} - i32(kw);
  if (y < 0 || x < 0 || y % ${c.strideHeight} != 0 || x % ${c.strideWidth} != 0) { return 0f; }
  let oh = u32(y) / ${c.strideHeight}u; let ow = u32(x) / ${c.strideWidth}u;
  if (oh >= ${c.outHeight}u || ow >= ${c.outWidth}u) { return 0f; }
  return dy[((n * ${c.outHeight}u + oh) * ${c.outWidth}u + ow) * ${c.outChannels}u + channel];
}`,
      read: ['dy', 'filters'],
    },
    [dy, w],
    [c.batchSize, c.inHeight, c.inWidth, c.inChannels],
  );
}

export function conv2dFilterGradient(backend: WebGPUBackendParts, x: TensorInfo, dy: TensorInfo, c: ConvInfo): TensorInfo {
  return product(
    backend,
    {
      name: `conv2dFilterGradient ${c.strideHeight} ${c.strideWidth} ${c.padInfo.top} ${c.padInfo.left}`,
      m: c.filterHeight * c.filterWidth * c.inChannels,
      n: c.outChannels,
      k: c.batchSize * c.outHeight * c.outWidth,
      a: 'gatherX(inner, row)',
      b: `dy[inner * ${c.outChannels}u + column]`,
      functions: gatherX(c),
      read: ['image', 'dy'],
    },
    [x, dy],
    [c.filterHeight, c.filterWidth, c.inChannels, c.outChannels],
  );
}
