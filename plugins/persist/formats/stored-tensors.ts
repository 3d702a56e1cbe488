import type { TensorData } from '../../../core/index.js';

/** A tensor of a file, read when it is asked for. */
export interface StoredTensor {
  /** As the file's header says, in PyTorch's layout. */
  readonly shape: readonly number[];
  /** The file it stands in, for messages. */
  readonly where: string;
  read(): Promise<TensorData>;
}

/** Tensors by name, of a file or of several. */
export type StoredTensors = ReadonlyMap<string, StoredTensor>;

/** Tensors that are in memory. */
export const storedInMemory = (tensors: ReadonlyMap<string, TensorData>, where = 'memory'): StoredTensors =>
  new Map([...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, where, read: async () => tensor }]));
