import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { COLLECTIVE, type Collective, type Host, oneProcess, problemText, SteploomError } from '../../core/index.js';
import { BUCKET } from '../devices/compute/reduction.js';
import { fromFloat16, toFloat16 } from '../persist/formats/float16.js';
import { launched } from './mpi/launcher.js';
import { type MpiLibrary, openMpi } from './mpi/library.js';
import { LOST, type Meeting, Watchdog } from './mpi/watchdog.js';

export interface MpiOptions {
  /** Seconds that ranks wait for one that stays away before it is named and the job ended. */
  readonly timeout?: number;
}

/** What a process shares among all its runs: MPI can be initialized once. */
interface World extends Collective {
  readonly watchdog: Watchdog;
  readonly library: MpiLibrary;
}

let world: Promise<World> | null = null;
/** A run that has begun and not ended well: should the process end, all must. */
let unfinished = false;
/** The error of a run that every rank reports by itself. */
let agreed = false;

/**
 * The processes that mpirun, mpiexec or srun started, through the MPI library of the same make; one process where none of them did.
 * If a rank fails, hangs or is lost, the whole job ends with an error that names it. Needs Node.
 */
export const mpi = ({ timeout = 600 }: MpiOptions = {}) => {
  let collective: Collective = oneProcess();
  let abandon: NodeJS.Timeout | undefined;
  const plugin = {
    name: 'mpi',
    fills: COLLECTIVE,
    get rank() {
      return collective.rank;
    },
    get worldSize() {
      return collective.worldSize;
    },
    get localRank() {
      return collective.localRank;
    },
    get localSize() {
      return collective.localSize;
    },
    sum: (value: number) => collective.sum(value),
    max: (value: number) => collective.max(value),
    allReduce: (arrays: readonly Float32Array[], options?: { readonly half?: boolean }) => collective.allReduce(arrays, options),
    broadcast: (bytes: Uint8Array | null) => collective.broadcast(bytes),
    gather: (text: string) => collective.gather(text),
    barrier: () => collective.barrier(),
    async apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        if (!(timeout > 0)) problems.add('OPTION_INVALID', 'mpi', `timeout is ${timeout}`, 'Give seconds above 0.');
      });
      const launcher = launched();
      if (launcher === null || launcher.worldSize === 1) return;
      world ??= begin(timeout);
      const joined = await world;
      collective = joined;
      unfinished = true;
      agreed = false;
      joined.watchdog.begin();
      hooks.onEnd.tapPromise(async () => {
        // Nobody goes before all are here: rank 0 may still be writing.
        await joined.barrier();
        unfinished = false;
        await joined.watchdog.finish();
      });
      hooks.onError.tap((error) => {
        agreed = error instanceof SteploomError && error.everyRank;
        report(joined, error);
      });
    },
    dispose() {
      if (collective.worldSize === 1 || !unfinished || agreed) return;
      // Others wait for this rank. A program that does not end of itself has some seconds to say more.
      abandon = setTimeout(() => void world?.then(({ library }) => library.abort(1)), 5000);
      abandon.unref();
    },
  };
  return plugin;
};

const printed = new WeakSet<object>();

/** Whether an error was printed already, with its rank. */
export const wasPrinted = (error: unknown): boolean => typeof error === 'object' && error !== null && printed.has(error);

function report({ rank, worldSize }: Collective, error: unknown): void {
  if (typeof error === 'object' && error !== null) printed.add(error);
  const lines =
    error instanceof SteploomError
      ? error.problems.map((problem) => `error ${problemText(problem)}`)
      : [error instanceof Error ? (error.stack ?? error.message) : String(error)];
  for (const line of lines) console.error(`rank ${rank} of ${worldSize}: ${line}`);
}

/** Initializes MPI, and arranges for its end. */
async function begin(timeout: number): Promise<World> {
  const launcher = launched() as NonNullable<ReturnType<typeof launched>>;
  const library = openMpi(launcher);
  library.initialize();
  const [rank, worldSize] = [library.rank(), library.size()];
  if (worldSize !== launcher.worldSize)
    throw new SteploomError({
      code: 'MPI_MISSING',
      plugin: 'mpi',
      what: `the launcher started ${launcher.worldSize} processes, ${library.path} (${library.version}) knows of ${worldSize}`,
      fix: 'The library is of another make than the launcher: name the right one in MPI_LIBRARY.',
    });
  process.on('exit', (code) => {
    if (unfinished && !agreed) {
      if (code === 0) {
        console.error(`rank ${rank} of ${worldSize}: error ${LOST} (mpi): the process ended before the run did`);
        process.exitCode = 1;
      }
      library.abort(code === 0 ? 1 : code);
    } else library.finalize();
  });
  const host = hostname();
  const token = randomUUID();
  const watchdog = new Watchdog({ rank, host, timeout, token: rank === 0 ? token : '', launcher });
  const calls = callsOf(library, rank, worldSize, watchdog);
  const hosts = await calls.gather(host);
  const meeting = rank === 0 ? await watchdog.listen() : null;
  const shared = await calls.gather(JSON.stringify(meeting && { ...meeting, host, token }));
  const at = JSON.parse(shared[0]) as Meeting | null;
  if (rank > 0 && at) await watchdog.join(at);
  // Rank 0 knows of all from here on.
  await calls.barrier();
  return {
    ...calls,
    localRank: hosts.slice(0, rank).filter((name) => name === host).length,
    localSize: hosts.filter((name) => name === host).length,
    watchdog,
    library,
  };
}

/** The collective's calls. One is under way at a time: MPI knows them by their order alone. */
function callsOf(library: MpiLibrary, rank: number, worldSize: number, watchdog: Watchdog): Omit<Collective, 'localRank' | 'localSize'> {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(async () => {
      watchdog.enter();
      // koffi's calls do not keep the process alive.
      const alive = setInterval(() => undefined, 1 << 30);
      try {
        return await work();
      } finally {
        clearInterval(alive);
        watchdog.leave();
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
  const gathered = async (own: Uint8Array): Promise<Uint8Array[]> => {
    const lengths = new Float64Array(worldSize);
    lengths[rank] = own.length;
    await library.allReduce(lengths, worldSize);
    const most = Math.max(1, ...lengths);
    const padded = new Uint8Array(most);
    padded.set(own);
    const all = new Uint8Array(most * worldSize);
    await library.allGather(padded, most, all);
    return Array.from({ length: worldSize }, (_, r) => all.subarray(r * most, r * most + lengths[r]));
  };
  const scratch = new Float32Array(BUCKET);
  return {
    rank,
    worldSize,
    sum: (value) => inTurn(() => added(value)),
    max: (value) =>
      inTurn(async () => {
        const all = await gathered(new Uint8Array(new Float64Array([value]).buffer));
        return Math.max(...all.map((bytes) => new Float64Array(bytes.slice().buffer)[0]));
      }),
    allReduce: (arrays, { half = false } = {}) =>
      inTurn(async () => {
        const reduce = half ? halves(library, worldSize) : fulls(library);
        // Long arrays in place, piece by piece; short ones together through one of ours.
        let small: Float32Array[] = [];
        let filled = 0;
        const flush = async () => {
          if (filled === 0) return;
          let at = 0;
          for (const array of small) {
            scratch.set(array, at);
            at += array.length;
          }
          await reduce(scratch.subarray(0, filled));
          at = 0;
          for (const array of small) {
            array.set(scratch.subarray(at, at + array.length));
            at += array.length;
          }
          [small, filled] = [[], 0];
        };
        for (const array of arrays)
          if (array.length > BUCKET / 4) for (let at = 0; at < array.length; at += BUCKET) await reduce(array.subarray(at, at + BUCKET));
          else {
            if (filled + array.length > BUCKET) await flush();
            small.push(array);
            filled += array.length;
          }
        await flush();
      }),
    broadcast: (bytes) =>
      inTurn(async () => {
        const length = await added(rank === 0 ? (bytes as Uint8Array).length : 0);
        const all = rank === 0 ? (bytes as Uint8Array) : new Uint8Array(length);
        for (let at = 0; at < length; at += 1 << 28) {
          const piece = all.subarray(at, at + (1 << 28));
          await library.broadcast(piece, piece.length);
        }
        return all;
      }),
    gather: (text) => inTurn(async () => (await gathered(new TextEncoder().encode(text))).map((bytes) => new TextDecoder().decode(bytes))),
    barrier: () => inTurn(async () => void (await added(0))),
  };
}

/** Milliseconds that the event loop may wait. */
const LAG = 8;

/**
 * An all-reduce piece by piece: the first beside this thread, as ranks may be late; all are there after it, so that the next ones
 * run here, without handing each to another thread and back (which took as long again), letting others in between.
 */
function fulls(library: MpiLibrary): (values: Float32Array) => Promise<void> {
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
 * An all-reduce that sends float16: each rank adds up its part of everyone's numbers in float32, and hands out the sums. Scaled by a
 * power of two that all agree on, so that the largest sum fits into 16 bits.
 */
function halves(library: MpiLibrary, worldSize: number): (values: Float32Array) => Promise<void> {
  return async (values) => {
    let largest = 0;
    for (const x of values) if (!(Math.abs(x) <= largest)) largest = Number.isFinite(x) ? Math.abs(x) : Number.POSITIVE_INFINITY;
    const tops = new Uint8Array(8 * worldSize);
    await library.allGather(new Uint8Array(new Float64Array([largest]).buffer), 8, tops);
    const most = Math.max(...new Float64Array(tops.buffer));
    const scale = Number.isFinite(most) && most > 0 ? 2 ** (14 - Math.ceil(Math.log2(most * worldSize))) : 1;
    const each = Math.ceil(values.length / worldSize);
    const padded = new Float32Array(each * worldSize);
    for (let i = 0; i < values.length; i++) padded[i] = values[i] * scale;
    const own = toFloat16(padded);
    const parts = new Uint16Array(own.length);
    await library.allToAll(bytesOf(own), 2 * each, bytesOf(parts));
    const numbers = fromFloat16(parts);
    const sum = new Float32Array(each);
    for (let r = 0; r < worldSize; r++) for (let i = 0; i < each; i++) sum[i] += numbers[r * each + i];
    const all = new Uint16Array(each * worldSize);
    await library.allGather(bytesOf(toFloat16(sum)), 2 * each, bytesOf(all));
    const sums = fromFloat16(all);
    for (let i = 0; i < values.length; i++) values[i] = sums[i] / scale;
  };
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint16Array): Uint8Array => new Uint8Array(buffer, byteOffset, byteLength);
