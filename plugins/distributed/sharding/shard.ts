export interface ShardOptions {
  /** Equally many batches on every rank, padded from the epoch's beginning. On by default. */
  readonly evenBatches?: boolean;
  /** Leave out the batches that not every rank has one of, whole. */
  readonly dropLast?: boolean;
  /** The batch size is that of all ranks together: each takes its slice of every batch. */
  readonly splitBatches?: boolean;
}

/** One rank's examples of an epoch. */
export interface Shard {
  /** All, in order, in batches of `batchSize`. */
  readonly ids: number[];
  /** How many at the end are padding: they repeat others, so that ranks have equally many. They weigh nothing in gradients and metrics. */
  readonly repeated: number;
  readonly batchSize: number;
}

type Ranks = { readonly rank: number; readonly worldSize: number };

/**
 * Batches dealt out to ranks in turn, as Accelerate's BatchSamplerShard deals them: batch k goes to rank k mod worldSize, and what
 * an epoch lacks in the end is padded from its beginning.
 */
export function shardOf(
  order: ArrayLike<number>,
  batchSize: number,
  { rank, worldSize }: Ranks,
  { evenBatches = true, dropLast = false, splitBatches = false }: ShardOptions = {},
): Shard {
  const share = splitBatches ? batchSize / worldSize : batchSize;
  const round = share * worldSize;
  const n = order.length;
  const end = dropLast ? Math.floor(n / round) * round : evenBatches ? Math.ceil(n / round) * round : n;
  const ids: number[] = [];
  let repeated = 0;
  for (let start = rank * share; start < end; start += round)
    for (let i = start; i < Math.min(start + share, end); i++) {
      ids.push(order[i % n]);
      if (i >= n) repeated++;
    }
  return { ids, repeated, batchSize: share };
}

/**
 * One rank's part of batches of any size, dealt out likewise. None is padded: a rank that has fewer of them, or an empty slice of one, takes part
 * with nothing.
 */
export function shardOfBatches(
  batches: readonly (readonly number[])[],
  { rank, worldSize }: Ranks,
  { dropLast = false, splitBatches = false }: ShardOptions = {},
): (readonly number[])[] {
  if (splitBatches)
    return batches.map((batch) => batch.slice(...[rank, rank + 1].map((part) => Math.round((batch.length * part) / worldSize))));
  const end = dropLast ? Math.floor(batches.length / worldSize) * worldSize : batches.length;
  return batches.slice(0, end).filter((_, k) => k % worldSize === rank);
}
