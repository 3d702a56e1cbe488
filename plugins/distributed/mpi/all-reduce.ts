import { BUCKET } from '../../devices/compute/reduction.js';
import { fromFloat16, toFloat16 } from '../../persist/formats/float16.js';
import type { MpiLibrary } from './library.js';

/** Adds up one array over ranks, in place. */
type Reduce = (values: Float32Array) => Promise<void>;

/**
 * Adds up arrays over all ranks, in place: long ones bucket by bucket, short ones together in a bucket of ours. With `half`, numbers travel as
 * float16.
 */
export function allReducer(library: MpiLibrary, worldSize: number) {
  const bucket = new Float32Array(BUCKET);
  return async (arrays: readonly Float32Array[], half: boolean): Promise<void> => {
    const reduce = half ? inFloat16(library, worldSize) : inFloat32(library);
    let short: Float32Array[] = [];
    let filled = 0;
    const flush = async () => {
      if (filled === 0) return;
      let at = 0;
      for (const array of short) {
        bucket.set(array, at);
        at += array.length;
      }
      await reduce(bucket.subarray(0, filled));
      at = 0;
      for (const array of short) {
        array.set(bucket.subarray(at, at + array.length));
        at += array.length;
      }
      [short, filled] = [[], 0];
    };
    for (const array of arrays)
      if (array.length > BUCKET / 4) for (let at = 0; at < array.length; at += BUCKET) await reduce(array.subarray(at, at + BUCKET));
      else {
        if (filled + array.length > BUCKET) await flush();
        short.push(array);
        filled += array.length;
      }
    await flush();
  };
}

/** Milliseconds that the event loop may wait. */
const LAG = 8;

/**
 * The first bucket is reduced beside this thread, as ranks may be late; all are there after it, so that the next ones are reduced on this
 * thread, without handing each to another and back (which took as long again), letting others in between.
 */
function inFloat32(library: MpiLibrary): Reduce {
  let last = Number.NEGATIVE_INFINITY;
  return async (values) => {
    const now = performance.now();
    if (now - last > LAG) {
      await library.allReduce(values, values.length);
      last = performance.now();
    } else library.allReduceNow(values);
  };
}

/**
 * Sends float16: each rank adds up its part of everyone's numbers in float32, and hands out the sums. Scaled by a power of two that all
 * agree on, so that the largest sum fits into 16 bits.
 */
function inFloat16(library: MpiLibrary, worldSize: number): Reduce {
  return async (values) => {
    let largest = 0;
    for (const x of values) if (!(Math.abs(x) <= largest)) largest = Number.isFinite(x) ? Math.abs(x) : Number.POSITIVE_INFINITY;
    const largestOfRanks = new Uint8Array(8 * worldSize);
    await library.allGather(new Uint8Array(new Float64Array([largest]).buffer), 8, largestOfRanks);
    const most = Math.max(...new Float64Array(largestOfRanks.buffer));
    const scale = Number.isFinite(most) && most > 0 ? 2 ** (14 - Math.ceil(Math.log2(most * worldSize))) : 1;
    const each = Math.ceil(values.length / worldSize);
    const padded = new Float32Array(each * worldSize);
    for (let i = 0; i < values.length; i++) padded[i] = values[i] * scale;
    const sent = toFloat16(padded);
    const received = new Uint16Array(sent.length);
    await library.allToAll(bytesOf(sent), 2 * each, bytesOf(received));
    const numbers = fromFloat16(received);
    const sum = new Float32Array(each);
    for (let r = 0; r < worldSize; r++) for (let i = 0; i < each; i++) sum[i] += numbers[r * each + i];
    const all = new Uint16Array(each * worldSize);
    await library.allGather(bytesOf(toFloat16(sum)), 2 * each, bytesOf(all));
    const sums = fromFloat16(all);
    for (let i = 0; i < values.length; i++) values[i] = sums[i] / scale;
  };
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint16Array): Uint8Array => new Uint8Array(buffer, byteOffset, byteLength);
