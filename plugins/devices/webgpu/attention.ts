import type { Tensor, TensorInfo } from '../../../core/tf.js';
import type { AttentionOperation } from '../compute/contract.js';
import { tracked } from '../compute/tracked.js';
import * as plain from './attention-shaders.js';
import * as matrices from './attention-tensor-cores.js';
import type { WebGPUDevice } from './device.js';
import { dispatch } from './dispatch.js';
import { isHalf, toFull, toHalf } from './half.js';
import { sizesBuffer } from './sizes.js';
import { addSlices } from './slices.js';
import { HALVES } from './storage.js';

/** A shader with the rows that a workgroup of it has, and the columns that it takes at a time. */
interface Shader {
  readonly name: string;
  readonly code: () => string;
  readonly rows: number;
  readonly columns: number;
}

/** The shader for so many rows and heads of d numbers so stored: on tensor cores, if the device has them and the heads are not too wide. */
function shaderFor(
  device: WebGPUDevice,
  kind: matrices.MatrixShader,
  length: number,
  d: number,
  storage: plain.Storage,
  partial = false,
): Shader {
  const memory = device.backend.device.limits.maxComputeWorkgroupStorageSize;
  const name = `attention ${kind} ${d} ${storage} ${partial}`;
  const matrix = device.tensorCores && storage === 'halves' ? matrices.matrixPlanFor(kind, d, memory) : undefined;
  if (matrix) {
    const code = {
      forward: () => matrices.forwardMatrixShader(d, matrix),
      dq: () => matrices.queryMatrixShader(d, matrix),
      'dk dv': () => matrices.keyMatrixShader(d, matrix, partial),
    }[kind];
    return { name, code, rows: matrices.matrixRowsOf(matrix), columns: matrix.columns };
  }
  const plan = plain.planFor(d, kind === 'dk dv' ? 2 : 1, storage, memory, length);
  const code = {
    forward: () => plain.forwardShader(d, storage, plan),
    dq: () => plain.queryShader(d, storage, plan),
    'dk dv': () => plain.keyShader(d, storage, plan, partial),
  }[kind];
  const rows = plain.rowsOf(plan);
  return { name: `${name} ${rows}`, code, rows, columns: plain.columnsOf(plan) };
}

/** What a call's shaders are told, with the queries of each example in slices of `depth`. */
function sizesOf(device: WebGPUDevice, q: TensorInfo, k: TensorInfo, heads: number, depth: number): GPUBuffer {
  const [batch, lq] = q.shape;
  const values: Record<(typeof plain.SIZES)[number], number> = { heads, lq, lk: k.shape[1], batch, depth };
  return sizesBuffer(
    device,
    plain.SIZES.map((name) => values[name]),
  );
}

/** Slices of a walk along so many rows, in tiles of `columns`, so that so many workgroups become enough to keep a device busy. */
export function slicesOf(rows: number, columns: number, groups: number): { readonly slices: number; readonly depth: number } {
  const depth = groups >= 256 ? rows : Math.ceil((rows * groups) / 1024 / columns) * columns;
  return { slices: Math.ceil(rows / depth), depth };
}

/** Calls `use` with all tensors stored as the first one, in half precision where heads of d numbers can be; copies are freed afterwards. */
function alike<T>(
  device: WebGPUDevice,
  tensors: readonly Tensor[],
  d: number,
  use: (storage: plain.Storage, tensors: TensorInfo[]) => T,
): T {
  const half = isHalf(device, tensors[0]) && d % HALVES === 0;
  const given = tensors.map((tensor) => (isHalf(device, tensor) === half ? tensor : (half ? toHalf : toFull)(device, tensor)));
  try {
    return use(half ? 'halves' : d % 4 === 0 ? 'vectors' : 'scalars', given);
  } finally {
    for (const [i, tensor] of given.entries()) if (tensor !== tensors[i]) device.dispose(tensor);
  }
}

/**
 * Scaled dot-product attention that never stores scores (Dao et al. 2022, FlashAttention): a workgroup keeps a tile of queries, walks along the
 * keys tile by tile, and rescales what it has summed up when a row's largest score grows. Backward, the probabilities are computed
 * again from the logarithm of each row's sum. Heads are read where they stand in [n, l, heads d], so nothing is transposed.
 * What it returns is stored as the queries are (in single precision where heads are not made of multiples of 8).
 */
export const attention = (device: WebGPUDevice): AttentionOperation => ({
  forward(q, k, v, heads) {
    const [n, lq, c] = q.shape;
    const d = c / heads;
    return alike(device, [q, k, v], d, (storage, inputs) => {
      const shader = shaderFor(device, 'forward', lq, d, storage);
      const result = device.trackedTensor(q.shape, storage === 'halves');
      const sumLogs = device.trackedTensor([n, heads, lq]);
      dispatch(device, {
        ...shader,
        named: true,
        halves: true,
        tensors: [...inputs, result, sumLogs],
        shared: [sizesOf(device, q, k, heads, lq)],
        groups: [Math.ceil(lq / shader.rows), heads, n],
      });
      return { result, sumLogs };
    });
  },

  backward(dy, { q, k, v, result, sumLogs }, heads) {
    const [n, lq, c] = q.shape;
    const lk = k.shape[1] as number;
    const d = c / heads;
    return alike(device, [q, k, v, dy, result], d, (storage, [qs, ks, vs, dys, results]) => {
      const half = storage === 'halves';
      const sizes = sizesOf(device, q, k, heads, lq);
      const deltas = device.newTensor([n, heads, lq]);
      dispatch(device, {
        name: `attention deltas ${d} ${storage}`,
        named: true,
        halves: true,
        code: () => plain.deltaShader(d, storage),
        tensors: [results, dys, deltas],
        shared: [sizes],
        groups: [Math.ceil((lq * heads) / 64), n],
      });
      const inputs = [qs, ks, vs, dys, sumLogs, deltas];
      const forQueries = shaderFor(device, 'dq', lq, d, storage);
      const dq = device.trackedTensor(q.shape, half);
      dispatch(device, {
        ...forQueries,
        named: true,
        halves: true,
        tensors: [...inputs, dq],
        shared: [sizes],
        groups: [Math.ceil(lq / forQueries.rows), heads, n],
      });
      // Few keys would leave most of the device idle: their queries are cut in slices that are added afterwards.
      const { rows, columns } = shaderFor(device, 'dk dv', lk, d, storage);
      const tiles = Math.ceil(lk / rows);
      const { depth, slices } = slicesOf(lq, columns, tiles * heads * n);
      const partial = () => (slices === 1 ? device.trackedTensor(k.shape, half) : device.newTensor([slices, ...k.shape]));
      const [dk, dv] = [partial(), partial()];
      dispatch(device, {
        ...shaderFor(device, 'dk dv', lk, d, storage, slices > 1),
        named: true,
        halves: true,
        tensors: [...inputs, dk, dv],
        shared: [sizesOf(device, q, k, heads, depth)],
        groups: [tiles, heads, n * slices],
      });
      device.dispose(deltas);
      const whole = (sliced: TensorInfo): Tensor => {
        if (slices === 1) return sliced as Tensor;
        const sum = device.newTensor(k.shape);
        addSlices(device, sliced, sum, { batch: 1, slices });
        if (!half) return tracked(sum);
        const halves = toHalf(device, sum);
        device.dispose(sum);
        return tracked(halves);
      };
      return { dq, dk: whole(dk), dv: whole(dv) };
    });
  },
});
