import type { Tensor, TensorInfo } from '@tensorflow/tfjs';
import type { AttentionOperation } from '../compute/contract.js';
import { deltaShader, forwardShader, KEYS, keyShader, queryShader, rowsFor, SIZES } from './attention-shaders.js';
import type { WebGPUDevice } from './device.js';
import { dispatch } from './dispatch.js';
import { sizesBuffer } from './sizes.js';
import { addSlices } from './slices.js';

/** What a call's shaders are told, with the queries of each example in so many slices. */
function sizesOf(device: WebGPUDevice, q: Tensor, k: Tensor, heads: number, slices = 1): GPUBuffer {
  const [batch, lq] = q.shape;
  const values: Record<(typeof SIZES)[number], number> = {
    heads,
    lq,
    lk: k.shape[1] as number,
    batch,
    depth: Math.ceil(lq / slices / KEYS) * KEYS,
  };
  return sizesBuffer(
    device,
    SIZES.map((name) => values[name]),
  );
}

/**
 * Scaled dot-product attention that never stores scores (Dao et al. 2022, FlashAttention): a workgroup keeps a tile of queries, walks along the
 * keys in tiles of 64, and rescales what it has summed up when a row's largest score grows. Backward, the probabilities are computed
 * again from the logarithm of each row's sum. Heads are read where they stand in [n, l, heads d], so nothing is transposed.
 */
export const attention = (device: WebGPUDevice): AttentionOperation => ({
  forward(q, k, v, heads) {
    const [n, lq, c] = q.shape;
    const d = c / heads;
    const result = device.trackedTensor(q.shape);
    const sumLogs = device.trackedTensor([n, heads, lq]);
    dispatch(device, {
      name: `attention ${d}`,
      named: true,
      code: () => forwardShader(d),
      tensors: [q, k, v, result, sumLogs],
      shared: [sizesOf(device, q, k, heads)],
      groups: [Math.ceil(lq / rowsFor(d, 1)), heads, n],
    });
    return { result, sumLogs };
  },

  backward(dy, { q, k, v, result, sumLogs }, heads) {
    const [n, lq, c] = q.shape;
    const lk = k.shape[1] as number;
    const d = c / heads;
    const sizes = sizesOf(device, q, k, heads);
    const deltas = device.newTensor([n, heads, lq]);
    dispatch(device, {
      name: `attention deltas ${d}`,
      named: true,
      code: () => deltaShader(d),
      tensors: [result, dy, deltas],
      shared: [sizes],
      groups: [Math.ceil((lq * heads) / 64), n],
    });
    const inputs = [q, k, v, dy, sumLogs, deltas];
    const dq = device.trackedTensor(q.shape);
    dispatch(device, {
      name: `attention dq ${d}`,
      named: true,
      code: () => queryShader(d),
      tensors: [...inputs, dq],
      shared: [sizes],
      groups: [Math.ceil(lq / rowsFor(d, 1)), heads, n],
    });
    // Few keys would leave most of the device idle: their queries are cut in slices that are added afterwards.
    const tiles = Math.ceil(lk / rowsFor(d, 2));
    const groups = tiles * heads * n;
    const slices = groups >= 128 ? 1 : Math.min(Math.ceil(256 / groups), Math.ceil(lq / KEYS));
    const partial = () => (slices === 1 ? device.trackedTensor(k.shape) : device.newTensor([slices, ...k.shape]));
    const [dk, dv] = [partial(), partial()];
    dispatch(device, {
      name: `attention dk dv ${d}`,
      named: true,
      code: () => keyShader(d),
      tensors: [...inputs, dk, dv],
      shared: [sizesOf(device, q, k, heads, slices)],
      groups: [tiles, heads, n * slices],
    });
    device.dispose(deltas);
    const whole = (sliced: TensorInfo): Tensor => {
      if (slices === 1) return sliced as Tensor;
      const out = device.trackedTensor(k.shape);
      addSlices(device, sliced, out, { batch: 1, slices });
      return out;
    };
    return { dq, dk: whole(dk), dv: whole(dv) };
  },
});
