import type { TensorData } from '../../../../core/index.js';
import type { StoredTensor } from '../stored-tensors.js';

/** A tensor that is made of others when it is read. */
const made = (shape: readonly number[], where: string, data: () => Promise<Pick<TensorData, 'dtype' | 'data'>>): StoredTensor => ({
  shape,
  where,
  read: async () => ({ shape: [...shape], ...(await data()) }),
});

/** The same numbers in another shape. */
export const reshaped = (stored: StoredTensor, shape: readonly number[]): StoredTensor => made(shape, stored.where, () => stored.read());

/** A tensor without what a 1 x 1 convolution, of two axes or one, has behind its two channels. */
export const squeezed = (stored: StoredTensor): StoredTensor =>
  stored.shape.length > 2 && stored.shape.slice(2).every((size) => size === 1) ? reshaped(stored, stored.shape.slice(0, 2)) : stored;

/** One of several equal parts along the first axis. */
export function partOf(stored: StoredTensor, part: number, parts: number): StoredTensor {
  const [first, ...rest] = stored.shape;
  return made([first / parts, ...rest], stored.where, async () => {
    const { dtype, data } = await stored.read();
    const size = data.length / parts;
    return { dtype, data: data.slice(part * size, (part + 1) * size) } as Pick<TensorData, 'dtype' | 'data'>;
  });
}

/** Tensors one behind the other along the first axis; all are float32. */
export function joined(all: readonly StoredTensor[]): StoredTensor {
  const [first, ...rest] = all[0].shape;
  return made([first * all.length, ...rest], all[0].where, async () => {
    const size = [first, ...rest].reduce((a, b) => a * b, 1);
    const data = new Float32Array(size * all.length);
    for (const [i, stored] of all.entries()) data.set((await stored.read()).data as Float32Array, i * size);
    return { dtype: 'float32', data };
  });
}

/** A matrix with rows for columns; float32. */
export function transposed(stored: StoredTensor): StoredTensor {
  const [rows, columns] = stored.shape;
  return made([columns, rows], stored.where, async () => {
    const { data } = await stored.read();
    const turned = new Float32Array(data.length);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) turned[j * rows + i] = data[i * columns + j];
    return { dtype: 'float32', data: turned };
  });
}
