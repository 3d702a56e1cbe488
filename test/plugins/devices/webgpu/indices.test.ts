import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Tensor } from '../../../../core/tf.js';
import * as tf from '../../../../core/tf.js';
import { tryDevice } from '../../../../plugins/devices/choice/candidates.js';
import { use } from '../../../support/devices.js';

const found = await tryDevice('webgpu');
if ('why' in found) console.log(`not tested here: indices on WebGPU (${found.why})`);

/** Far outside of any tensor, before and behind. */
const FAR = 1_000_000_000;

const values = async (compute: () => Tensor): Promise<number[]> => {
  const result = tf.tidy(compute);
  const read = Array.from(await result.data());
  result.dispose();
  return read;
};

const rows = () => tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
const ids = (list: number[], shape?: number[]) => tf.tensor(list, shape ?? [list.length], 'int32');

test.runIf('report' in found).each<[string, () => Tensor, number[]]>([
  ['gather: rows there are not are 0', () => tf.gather(rows(), ids([2, 3, -1, FAR, 0])), [5, 6, 0, 0, 0, 0, 0, 0, 1, 2]],
  ['gather along the last axis', () => tf.gather(rows(), ids([1, 5]), 1), [2, 0, 4, 0, 6, 0]],
  ['gather of integers, by examples', () => tf.gather(ids([1, 2, 3, 4, 5, 6], [2, 3]), ids([2, 0, 7, 1], [2, 2]), 1, 1), [3, 1, 0, 5]],
  ['gather of integers that are called floats', () => tf.gather(ids([7, 8, 9]).toFloat(), ids([2, 0])).mul(1), [9, 7]],
  ['gatherND', () => tf.gatherND(rows(), ids([0, 1, FAR, -FAR, 1, 0], [3, 2])), [2, 5, 3]],
  ['scatterND', () => tf.scatterND(ids([0, FAR, -FAR], [3, 1]), tf.tensor1d([1, 2, 3]), [3]), [4, 0, 2]],
  ['tensorScatterUpdate', () => tf.tensorScatterUpdate(rows(), ids([1, 0, 2, FAR], [2, 2]), tf.tensor1d([8, 9])), [1, 2, 8, 4, 5, 9]],
  ['sparseToDense', () => tf.sparseToDense(ids([1, FAR]), tf.tensor1d([8, 9]), [3], tf.scalar(0)), [0, 8, 9]],
  ['bincount', () => tf.bincount(ids([1, -FAR, FAR, 1]) as tf.Tensor1D, tf.tensor1d([1, 1, 1, 1]) as tf.Tensor1D, 3), [0, 2, 0]],
  ['denseBincount', () => tf.denseBincount(ids([1, -1, 1, 0], [2, 2]) as tf.Tensor2D, tf.ones([2, 2]) as tf.Tensor2D, 2), [0, 1, 1, 1]],
  [
    'sparseSegmentSum',
    () => tf.sparse.sparseSegmentSum(rows() as tf.Tensor2D, ids([0, FAR, -FAR]) as tf.Tensor1D, ids([0, 0, 1]) as tf.Tensor1D),
    [6, 8, 1, 2],
  ],
  [
    'cropAndResize',
    () =>
      tf.image.cropAndResize(
        tf.tensor4d([1, 2, 3, 4], [1, 2, 2, 1]) as tf.Tensor4D,
        tf.tensor2d([0, 0, 1, 1, 0, 0, 1, 1], [2, 4]) as tf.Tensor2D,
        ids([0, 1]) as tf.Tensor1D,
        [2, 2],
      ),
    [1, 2, 3, 4, 1, 2, 3, 4],
  ],
])('where there is no such place: %s', async (_, compute, expected) => {
  const before = tf.memory().numTensors;
  expect(await values(compute)).toEqual(expected);
  expect(tf.memory().numTensors).toBe(before);
});

// TensorFlow.js computes on the host what is small and only there.
const flag = 'WEBGPU_CPU_FORWARD';
beforeAll(async () => {
  if ('why' in found) return;
  await use('webgpu');
  tf.env().set(flag, false);
});
afterAll(() => {
  if ('report' in found) tf.env().set(flag, true);
});
