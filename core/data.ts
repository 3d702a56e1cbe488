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
  /** The shape of an example in each of a batch's tensors, where all examples have the same. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  /** The columns of text of all examples, where they are known beforehand. */
  readonly strings?: Readonly<Record<string, readonly string[]>>;
  /** How messages name an example. */
  nameOf?(id: number): string;
  /** This rank's examples in the order of `epoch`; pure. */
  ids(epoch: number): ArrayLike<number>;
  /** Loads examples; `upcoming` are the ones that will be asked for next, to be prefetched. */
  load(ids: readonly number[], more: { epoch: number; upcoming: readonly number[] }): Promise<Batch>;
  /** Tells data sets apart: equal on every rank, or the run does not start. */
  fingerprint?(): string | Promise<string>;
  dispose?(): void | Promise<void>;
}

/** Role DATA: opens the data set. Problems found (a missing folder, a broken header) go on the list. */
export interface Data {
  /** Opens the data set; problems found go on the list. */
  open(problems: Problems): Promise<Source>;
}
