import type { Random } from '../../../core/index.js';

/**
 * Batches of examples that belong together: `order` dealt out to the batch of each one's group, what is left of a group in a smaller batch, and the batches in a
 * drawn order, where `shuffle` asks for it. As many in every order; pure in seed and epoch.
 */
export function batchesOfGroups(
  order: ArrayLike<number>,
  groupOf: (id: number) => string,
  batchSize: number,
  random: Random,
  epoch: number,
  shuffle: boolean,
): number[][] {
  const batches: number[][] = [];
  const open = new Map<string, number[]>();
  for (const id of Array.from(order)) {
    const group = groupOf(id);
    let batch = open.get(group);
    if (!batch || batch.length === batchSize) {
      batch = [];
      batches.push(batch);
      open.set(group, batch);
    }
    batch.push(id);
  }
  return shuffle ? Array.from(random.named('batches', epoch).permutation(batches.length), (i) => batches[i]) : batches;
}
