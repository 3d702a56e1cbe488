import { expect, test } from 'vitest';
import { type Batch, type Host, seededRandom } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { augmentation } from '../../../plugins/data/augmentation.js';

test('a mask is mirrored with its picture', () => {
  let change: (batch: Batch, at: { epoch: number }) => Batch = (batch) => batch;
  augmentation({ flip: 0.5 }).apply({
    hooks: { validate: { tap: () => undefined }, onBatch: { tap: (fn: typeof change) => (change = fn) } },
    resolve: () => seededRandom(1),
  } as unknown as Host);
  const before = tf.memory().numTensors;
  const ids = Array.from({ length: 12 }, (_, id) => id);
  const column = [0, 0.25, 0.5, 1];
  const rows = tf.tensor4d(
    ids.flatMap(() => column),
    [12, 1, 4, 1],
  );
  const batch: Batch = { items: 12, ids, epoch: 0, tensors: { images: tf.tile(rows, [1, 1, 1, 3]), mask: rows } };
  const { images, mask } = change(batch, { epoch: 0 }).tensors;
  const shown = mask.arraySync() as number[][][][];
  expect(images.arraySync()).toEqual(shown.map((picture) => picture.map((row) => row.map(([x]) => [x, x, x]))));
  const mirrored = shown.map(([row]) => row.flat()).map((row) => (row[0] === 1 ? row.toReversed() : row));
  expect(mirrored).toEqual(ids.map(() => column));
  expect([...mask.dataSync()].filter((x, i) => i % 4 === 0 && x === 1).length % 12).toBeGreaterThan(0);
  tf.dispose([images, mask]);
  expect(tf.memory().numTensors).toBe(before);
});
