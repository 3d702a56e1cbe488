import * as tf from '../../../core/tf.js';

export interface Speed {
  /** GFLOP/s of a square matrix product in float32, and its side. */
  readonly matMul: number;
  readonly matMulSide: number;
  /** GFLOP/s of a 3 x 3 convolution of 64 to 64 channels on images of 32 x 32, and how many images. */
  readonly convolution: number;
  readonly convolutionBatch: number;
}

/** A call of so many seconds is measured well enough alone. */
const LONG = 0.2;

/** Seconds a call of `work` takes when several follow one another, the device being waited for at the end. */
async function secondsOf(work: () => tf.Tensor, atLeast: number): Promise<number> {
  const timed = async (calls: number) => {
    const start = performance.now();
    for (let i = 0; i < calls - 1; i++) work().dispose();
    const last = work();
    const one = tf.tidy(() => last.flatten().slice([0], [1]));
    await one.data();
    tf.dispose([last, one]);
    return (performance.now() - start) / 1000;
  };
  await timed(1);
  const once = await timed(1);
  if (once > LONG) return once;
  const calls = Math.max(1, Math.min(200, Math.ceil(atLeast / once)));
  const times = [await timed(calls), await timed(calls), await timed(calls)];
  return times.sort((a, b) => a - b)[1] / calls;
}

/**
 * Grows the problem until one takes 20 ms, so that a slow device ends soon and a fast one is filled; then measures it. Size and rate are 0 where
 * no size is given.
 */
async function grown(sizes: readonly number[], make: (size: number) => { work: () => tf.Tensor; flop: number; dispose(): void }) {
  for (const [i, size] of sizes.entries()) {
    const { work, flop, dispose } = make(size);
    const short = await secondsOf(work, 0);
    if (short > 0.02 || i === sizes.length - 1) {
      const seconds = short > LONG ? short : await secondsOf(work, LONG);
      dispose();
      return { size, rate: flop / seconds / 1e9 };
    }
    dispose();
  }
  return { size: 0, rate: 0 };
}

/** What the current device makes of a matrix product and a convolution. Takes a second or two. */
export async function measure(): Promise<Speed> {
  const random = (shape: number[]) => tf.randomUniform(shape, -1, 1, 'float32', 1);
  const product = await grown([128, 256, 512, 1024, 2048, 4096], (n) => {
    const [a, b] = [random([n, n]), random([n, n])] as tf.Tensor2D[];
    return { work: () => tf.matMul(a, b), flop: 2 * n ** 3, dispose: () => tf.dispose([a, b]) };
  });
  const convolution = await grown([1, 4, 16, 64, 256], (n) => {
    const [x, w] = [random([n, 32, 32, 64]) as tf.Tensor4D, random([3, 3, 64, 64]) as tf.Tensor4D];
    return { work: () => tf.conv2d(x, w, 1, 'same'), flop: 2 * n * 1024 * 9 * 64 * 64, dispose: () => tf.dispose([x, w]) };
  });
  return { matMul: product.rate, matMulSide: product.size, convolution: convolution.rate, convolutionBatch: convolution.size };
}
