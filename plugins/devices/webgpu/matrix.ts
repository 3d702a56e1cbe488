import type { TensorInfo } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import type { WebGPUDevice } from './device.js';
import { buffers, type Dispatch, dispatch } from './dispatch.js';
import { namedSizes, sizesBinding, sizesBuffer } from './sizes.js';
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
  /**
   * WGSL expressions for element (row, inner) of a, given how the row is called and the number of it among those that a thread loads, and element
   * (inner, column) of b, in `inner`, `column`, `q` (inner's place in the tile), `batch`, and the sizes by name: all u32.
   */
  readonly a: (row: string, i: number) => string;
  readonly b: string;
  /** What stays the same is found once: statements for each row of a that a thread loads, for each step of 16 along the inner axis, and for a's inner place. */
  readonly rowState?: (row: string, i: number) => string;
  readonly stepState?: string;
  readonly innerState?: string;
  /** Expression added to each result, in `column`. */
  readonly bias?: string;
  readonly functions?: string;
  /** Sizes beside m, n and k that the shader reads, so that there is one for all of them. What is written into it otherwise is in the name. */
  readonly sizes?: Readonly<Record<string, number>>;
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

/** The inner axis is walked along in steps of so many. */
export const INNER = 16;

function shader(device: WebGPUDevice, p: Product, slices: number): Omit<Dispatch, 'tensors'> {
  const batch = p.batch ?? 1;
  const [rows, columns] = tiles(p.m, p.n, batch * slices);
  const [perRow, perColumn] = [rows / 16, columns / 16];
  const depth = Math.ceil(p.k / slices / INNER) * INNER;
  const loads = (size: number, body: (at: string) => string) => `for (var e = local; e < ${size}u; e += 256u) { ${body('e')} }`;
  const each = (count: number, body: (i: number) => string) => Array.from({ length: count }, (_, i) => body(i)).join('\n');
  const sizes = { m: p.m, n: p.n, k: p.k, slices, depth, ...p.sizes };
  const code = () => `${buffers(p.read, ['result'])}
${sizesBinding(p.read.length + 1)}
var<workgroup> tileA: array<f32, ${INNER * (rows + 1)}>;
var<workgroup> tileB: array<f32, ${INNER * columns}>;
${p.functions ?? ''}
@compute @workgroup_size(256) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  ${namedSizes(Object.keys(sizes))}
  let firstColumn = group.x * ${columns}u;
  let firstRow = group.y * ${rows}u;
  let batch = group.z / slices;
  let slice = group.z % slices;
  let myRow = local / 16u;
  let myColumn = local % 16u;
  ${each(perRow * perColumn, (i) => `var s${i} = 0f;`)}
  let start = slice * depth;
  let end = min(k, start + depth);
  ${each(perRow, (i) => `let row${i} = firstRow + myRow + ${16 * i}u; ${p.rowState?.(`row${i}`, i) ?? ''}`)}
  for (var base = start; base < end; base += ${INNER}u) {
    ${p.stepState ?? ''}
    {
      // A thread loads one inner place of some rows: those that it sums up.
      let q = myColumn;
      let inner = base + q;
      ${p.innerState ?? ''}
      ${each(
        perRow,
        (i) =>
          `var v${i} = 0f; if (row${i} < m && inner < end) { v${i} = ${p.a(`row${i}`, i)}; } tileA[q * ${rows + 1}u + myRow + ${16 * i}u] = v${i};`,
      )}
    }
    ${loads(
      columns * INNER,
      (e) => `let q = ${e} / ${columns}u; let c = ${e} % ${columns}u; let column = firstColumn + c; let inner = base + q;
      var value = 0f; if (column < n && inner < end) { value = ${p.b}; } tileB[q * ${columns}u + c] = value;`,
    )}
    workgroupBarrier();
    for (var q = 0u; q < ${INNER}u; q++) {
      ${each(perRow, (i) => `let a${i} = tileA[q * ${rows + 1}u + myRow + ${16 * i}u];`)}
      ${each(perColumn, (j) => `let b${j} = tileB[q * ${columns}u + myColumn + ${16 * j}u];`)}
      ${each(perRow, (i) => each(perColumn, (j) => `s${i * perColumn + j} = fma(a${i}, b${j}, s${i * perColumn + j});`))}
    }
    workgroupBarrier();
  }
  let offset = (batch * slices + slice) * m * n;
  ${each(perRow, (i) =>
    each(
      perColumn,
      (j) => `{ let row = firstRow + myRow + ${16 * i}u; let column = firstColumn + myColumn + ${16 * j}u;
    if (row < m && column < n) { result[offset + row * n + column] = s${i * perColumn + j}${p.bias ? ` + ${p.bias}` : ''}; } }`,
    ),
  )}
}`;
  return {
    name: `${p.name} ${rows} ${columns} ${p.bias !== undefined}`,
    named: true,
    code,
    shared: [sizesBuffer(device, Object.values(sizes))],
    groups: [Math.ceil(p.n / columns), Math.ceil(p.m / rows), batch * slices],
  };
}

/** Computes the product into a new tensor of `shape`. A long inner axis is cut in slices that are added afterwards. */
export function product(device: WebGPUDevice, p: Product, inputs: readonly TensorInfo[], shape: number[]): TensorInfo {
  const batch = p.batch ?? 1;
  const [rows, columns] = tiles(p.m, p.n, batch);
  const groups = Math.ceil(p.m / rows) * Math.ceil(p.n / columns) * batch;
  const slices = p.bias || groups >= 96 || p.k < 512 ? 1 : Math.min(Math.ceil(256 / groups), Math.ceil(p.k / 128));
  const out = device.newTensor(shape);
  if (tf.util.sizeFromShape(shape) === 0) return out;
  const into = slices === 1 ? out : device.newTensor([batch, slices, p.m, p.n]);
  dispatch(device, { ...shader(device, p, slices), tensors: [...inputs, into] });
  if (slices > 1) addSlices(device, into, out, { batch, slices });
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
  const atBatch = (count: number, size: string) => (count > 1 ? `batch * ${size} + ` : '');
  return product(
    device,
    {
      name: `product ${transposeA} ${transposeB} ${batchA > 1} ${batchB > 1}`,
      m,
      n,
      k,
      batch,
      a: (row) => `a[${atBatch(batchA, 'm * k')}${transposeA ? `inner * m + ${row}` : `${row} * k + inner`}]`,
      b: `b[${atBatch(batchB, 'k * n')}${transposeB ? 'column * k + inner' : 'inner * n + column'}]`,
      ...(bias ? { bias: 'bias[column]' } : {}),
      read: bias ? ['a', 'b', 'bias'] : ['a', 'b'],
    },
    bias ? [a, b, bias] : [a, b],
    [...outer, m, n],
  );
}
