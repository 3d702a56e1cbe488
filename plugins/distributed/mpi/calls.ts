import type { Collective } from '../../../core/index.js';
import { allReducer } from './all-reduce.js';
import type { MpiLibrary } from './library.js';
import type { Watchdog } from './watchdog.js';

/** The most bytes of a broadcast: MPI counts in 32 bits. */
const MOST_BYTES = 1 << 28;

/** A collective's calls. One is under way at a time: MPI knows them by their order alone. */
export function callsOf(
  library: MpiLibrary,
  rank: number,
  worldSize: number,
  watchdog: Watchdog,
): Omit<Collective, 'localRank' | 'localSize'> {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(async () => {
      watchdog.enterCall();
      // koffi's calls do not keep the process alive.
      const alive = setInterval(() => undefined, 1 << 30);
      try {
        return await work();
      } finally {
        clearInterval(alive);
        watchdog.leaveCall();
      }
    });
    last = next.catch(() => undefined);
    return next;
  };
  const added = async (value: number): Promise<number> => {
    const values = new Float64Array([value]);
    await library.allReduce(values, 1);
    return values[0];
  };
  const gathered = async (bytes: Uint8Array): Promise<Uint8Array[]> => {
    const lengths = new Float64Array(worldSize);
    lengths[rank] = bytes.length;
    await library.allReduce(lengths, worldSize);
    const most = Math.max(1, ...lengths);
    const padded = new Uint8Array(most);
    padded.set(bytes);
    const all = new Uint8Array(most * worldSize);
    await library.allGather(padded, most, all);
    return Array.from({ length: worldSize }, (_, r) => all.subarray(r * most, r * most + lengths[r]));
  };
  const allReduce = allReducer(library, worldSize);
  return {
    rank,
    worldSize,
    sum: (value) => inTurn(() => added(value)),
    max: (value) =>
      inTurn(async () => {
        const all = await gathered(new Uint8Array(new Float64Array([value]).buffer));
        return Math.max(...all.map((bytes) => new Float64Array(bytes.slice().buffer)[0]));
      }),
    allReduce: (arrays, { half = false } = {}) => inTurn(() => allReduce(arrays, half)),
    broadcast: (bytes, from = 0) =>
      inTurn(async () => {
        const length = await added(rank === from ? (bytes as Uint8Array).length : 0);
        const all = rank === from ? (bytes as Uint8Array) : new Uint8Array(length);
        for (let at = 0; at < length; at += MOST_BYTES) {
          const piece = all.subarray(at, at + MOST_BYTES);
          await library.broadcast(piece, piece.length, from);
        }
        return all;
      }),
    gather: (text) => inTurn(async () => (await gathered(new TextEncoder().encode(text))).map((bytes) => new TextDecoder().decode(bytes))),
    barrier: () => inTurn(async () => void (await added(0))),
  };
}
