import type { Problems } from './errors.js';
import type { Tensors } from './model.js';

/** What one forward pass trains on. `items` is how many examples the loss averages over. The batch owns its tensors. */
export interface Batch {
  readonly items: number;
  readonly ids: readonly number[];
  readonly epoch: number;
  readonly tensors: Tensors;
  /** Columns of text, by name. One entry an example. */
  readonly strings?: Readonly<Record<string, readonly string[]>>;
  /** Rows of numbers that stay on the host, by name. One entry an example. */
  readonly numbers?: Readonly<Record<string, readonly (readonly number[])[]>>;
}

/** Examples by number, as one rank sees them. */
export interface Source {
  /** How many examples one epoch holds for this rank. */
  readonly items: number;
  readonly batchSize: number;
  /** The shape of an example in each of a batch's tensors, where all have the same; else that of the largest. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  /** The columns of text of all examples, where they are known beforehand. */
  readonly strings?: Readonly<Record<string, readonly string[]>>;
  /** How messages name an example. */
  nameOf?(id: number): string;
  /** This rank's examples in the order of `epoch`; pure. */
  ids(epoch: number): ArrayLike<number>;
  /** The examples of each microBatch, where not any `batchSize` of them may come together: as many microBatches in every epoch; pure. */
  batches?(epoch: number): readonly (readonly number[])[];
  /** What there is to say of the data set when a run begins: rows of a name and a text. */
  readonly facts?: readonly (readonly [name: string, text: string])[];
  /** Loads examples; `upcoming` are the ones that will be asked for next, to be prefetched. */
  load(ids: readonly number[], more: { epoch: number; upcoming: readonly number[] }): Promise<Batch>;
  /** Tells data sets apart: equal on every rank, or the run does not start. */
  fingerprint?(): string | Promise<string>;
  dispose?(): void | Promise<void>;
}

/** The microBatches of an epoch: how many there are, and the examples of each; none past the last. */
export function microBatchesOf(source: Source, epoch: number): { readonly count: number; at(index: number): readonly number[] } {
  const batches = source.batches?.(epoch);
  if (batches) return { count: batches.length, at: (index) => batches[index] ?? [] };
  const { items, batchSize } = source;
  const ids = source.ids(epoch);
  return {
    count: Math.ceil(items / batchSize),
    at: (index) => Array.prototype.slice.call(ids, index * batchSize, Math.min((index + 1) * batchSize, items)) as number[],
  };
}

/** Role DATA: opens the data set. Problems found (a missing folder, a broken header) go on the list. */
export interface Data {
  /** Opens the data set; problems found go on the list. */
  open(problems: Problems): Promise<Source>;
}
