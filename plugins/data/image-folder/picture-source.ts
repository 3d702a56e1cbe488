import type { Batch, Source } from '../../../core/index.js';

/** One way in which an example is shown: cut at a place, mirrored or not. */
export interface View {
  /** Tells it from all others: the file's bytes, the size, the place and the mirroring. */
  readonly key: string;
  /** A batch of this alone. */
  load(): Promise<Batch>;
}

/** Pictures, with what a cache of what is computed from them needs to know. */
export interface PictureSource extends Source {
  /** An example's caption, as an epoch shows it, and whether that is another one each time. */
  captionAt(id: number, epoch: number): string;
  readonly captionsVary: boolean;
  /** How much an example's loss counts, where they differ. */
  readonly weightOf?: (id: number) => number;
  /** How messages name an example. */
  nameOf(id: number): string;
  /** All ways in which epochs will show an example; null where each may cut it elsewhere. */
  views(id: number): Promise<readonly View[] | null>;
  /** Which of these an epoch shows. */
  shown(id: number, epoch: number): number;
}

/** The column `weight` of a batch, where examples differ in it. */
export const weightsOfExamples = ({ weightOf }: Pick<PictureSource, 'weightOf'>, ids: readonly number[]): { weight?: number[][] } =>
  weightOf ? { weight: ids.map((id) => [weightOf(id)]) } : {};
