import type { Random } from '../../../core/index.js';

/**
 * The order of an epoch over rows that lie in groups, each of which is read at once: groups in a drawn order, and their rows through a buffer of `size`, of which
 * a drawn one goes on and the next row takes its place (as the library datasets shuffles streams). So rows near in this order are of few groups. Pure in seed
 * and epoch, the same on every machine.
 */
export function bufferedOrder(random: Random, groups: readonly ArrayLike<number>[], size: number, epoch: number): Int32Array {
  const total = groups.reduce((sum, { length }) => sum + length, 0);
  const draw = random.named('buffer', epoch);
  const order = new Int32Array(total);
  const buffer = new Int32Array(Math.min(size, total));
  let [filled, at] = [0, 0];
  for (const group of random.named('groups', epoch).permutation(groups.length))
    for (let i = 0; i < groups[group].length; i++) {
      const row = groups[group][i];
      if (filled < buffer.length) {
        buffer[filled++] = row;
        continue;
      }
      const chosen = draw.integer(filled);
      order[at++] = buffer[chosen];
      buffer[chosen] = row;
    }
  while (filled > 0) {
    const chosen = draw.integer(filled);
    order[at++] = buffer[chosen];
    buffer[chosen] = buffer[--filled];
  }
  return order;
}
