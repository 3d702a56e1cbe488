/** What TensorFlow.js asks for tensors' memory. The names are there once a GPU was found. */
export const tensorUsage = (): number => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

// Half precision is a matter of storage: a tensor stays float32 by name, and its memory holds float16, two to a word with the first in the low bits.
// Kernels that know read and write it so; all others are given a float32 copy. Shaders that unpack it need no feature of the adapter's.

/** Numbers that are loaded at a time, 16 bytes: what is stored in half precision has a last axis of so many, or a multiple. */
export const HALVES = 8;

/** What so many numbers take in half precision, in bytes. */
export const halfBytes = (count: number): number => 16 * Math.ceil(count / HALVES);

/** Whether a tensor of this shape may be stored in half precision. */
export const fitsHalf = (shape: readonly number[]): boolean => shape.length > 0 && shape[shape.length - 1] % HALVES === 0;
