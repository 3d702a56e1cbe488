import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, dispatch } from './dispatch.js';
import { addSlices } from './slices.js';

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
export function product(device: WebGPUDevice, p: Product, inputs: readonly TensorInfo[], shape: number[]): TensorInfo {
  const batch = p.batch ?? 1;
  const [rows, columns] = tiles(p.m, p.n, batch);
  const groups = Math.ceil(p.m / rows) * Math.ceil(p.n / columns) * batch;
  const slices = p.bias || groups >= 96 || p.k < 512 ? 1 : Math.min(Math.ceil(256 / groups), Math.ceil(p.k / 128));
  const out = device.newTensor(shape);
  if (tf.util.sizeFromShape(shape) === 0) return out;
  if (slices === 1) {
    dispatch(device, { ...shader(p, 1), tensors: [...inputs, out] });
    return out;
  }
  const partial = device.newTensor([batch, slices, p.m, p.n]);
  dispatch(device, { ...shader(p, slices), tensors: [...inputs, partial] });
  addSlices(device, partial, out, { batch, slices });
  return out;
}

/** a [.., m, k] times b [.., k, n], either transposed; a batch of 1 is shared. */
export function matMul(
  device: WebGPUDevice,
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
    device,
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
