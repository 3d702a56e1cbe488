import { existsSync, readlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
// Not the core's index, which loads TensorFlow.js: the watchdog's thread imports this file.
import { fail, messageOf } from '../../../core/errors.js';
import type { LaunchedRank } from './environment.js';

/** A handle of MPI: an address with Open MPI, a number elsewhere. */
type Handle = number | bigint;

/** The calls that steploom makes. Those that wait for other ranks come in a form that does not block this thread. */
export interface MpiLibrary {
  readonly path: string;
  /** As the library says. */
  readonly version: string;
  initialize(): void;
  finalize(): void;
  /** Ends every rank, a moment later: a launcher may drop what was said last if it is to end the job before it has read it (seen with MPICH's). */
  abort(code: number): void;
  rank(): number;
  size(): number;
  /** Adds up over ranks, in place. */
  allReduce(values: Float32Array | Float64Array, count: number): Promise<void>;
  /** The same on this thread, which waits: for when every rank is known to be in the call, or about to be. */
  allReduceNow(values: Float32Array): void;
  /** The bytes of rank `from`. */
  broadcast(bytes: Uint8Array, count: number, from: number): Promise<void>;
  /** `count` bytes of every rank, in the order of ranks. */
  allGather(sent: Uint8Array, count: number, all: Uint8Array): Promise<void>;
  /** Block k of `sent`, of `count` bytes, to rank k. */
  allToAll(sent: Uint8Array, count: number, all: Uint8Array): Promise<void>;
}

/** Milliseconds that a launcher has to read what a rank has said before the job is ended. */
const LAST_WORDS = 300;

/** Where handles and constants come from. Open MPI's handles are addresses of its symbols, all others' are numbers. */
interface Abi {
  readonly handle: 'int' | 'intptr_t';
  readonly world: string | number;
  readonly byte: string | number;
  readonly float: string | number;
  readonly double: string | number;
  readonly sum: string | number;
  readonly inPlace: number;
}

const OPEN_MPI: Abi = {
  handle: 'intptr_t',
  world: 'ompi_mpi_comm_world',
  byte: 'ompi_mpi_byte',
  float: 'ompi_mpi_float',
  double: 'ompi_mpi_double',
  sum: 'ompi_mpi_op_sum',
  inPlace: 1,
};
/** The MPICH ABI, which Intel MPI, MVAPICH and Cray MPI share. */
const MPICH: Abi = {
  handle: 'int',
  world: 0x44000000,
  byte: 0x4c00010d,
  float: 0x4c00040a,
  double: 0x4c00080b,
  sum: 0x58000003,
  inPlace: -1,
};
/** The standard ABI of MPI 5 (libmpi_abi). */
const STANDARD: Abi = { handle: 'intptr_t', world: 0x101, byte: 0x247, float: 0x210, double: 0x214, sum: 0x21, inPlace: 1 };

const OPEN_MPI_NAMES = ['libmpi.so.40', 'libmpi.so.80'];
const MPICH_NAMES = ['libmpi.so.12', 'libmpich.so.12'];
const OTHERS = ['libmpi_abi.so.1', 'libmpi_abi.so.0', 'libmpi.so', 'libmpi.dylib', 'libmpi_abi.dylib'];

/** Where the program lies that started this process: that of a launcher, of which one machine may have several. */
function launcherRoot(): string | undefined {
  try {
    return dirname(dirname(readlinkSync(`/proc/${process.ppid}/exe`)));
  } catch {
    return undefined;
  }
}

/** Libraries to try, most likely first: MPI_LIBRARY alone where it is set, then the launcher's, then the usual names. */
function candidates({ kind }: LaunchedRank, env: NodeJS.ProcessEnv): string[] {
  if (env.MPI_LIBRARY) return [env.MPI_LIBRARY];
  const names =
    kind === 'openmpi'
      ? [...OPEN_MPI_NAMES, ...OTHERS]
      : kind === 'mpich'
        ? [...MPICH_NAMES, ...OTHERS]
        : [...OPEN_MPI_NAMES, ...MPICH_NAMES, ...OTHERS];
  const roots = [launcherRoot(), env.OPAL_PREFIX, env.MPI_HOME, env.MPI_ROOT, env.I_MPI_ROOT, env.MPICH_HOME].filter(
    (root) => root !== undefined,
  );
  const rooted = roots.flatMap((root) => names.flatMap((name) => [`${root}/lib/${name}`, `${root}/lib/release/${name}`]));
  return [...rooted.filter((path) => existsSync(path)), ...names];
}

// The types of koffi that are used: those of the package declare every function as taking anything.
interface Native {
  (...args: unknown[]): number;
  async(...args: unknown[]): void;
}
interface Library {
  func(prototype: string): Native;
  symbol(name: string, type: string): unknown;
}
interface Koffi {
  load(path: string): Library;
  config(options?: Record<string, number>): Record<string, number>;
  address(pointer: unknown): bigint;
}

/** Bytes of stack for calls beside the main thread: MPICH's progress needs more than koffi's default. */
const STACK = 8 << 20;

function loadKoffi(): Koffi {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const settings = koffi.config();
    // Read when the first call is made, and not to be changed after it.
    if (settings.async_stack_size !== STACK) koffi.config({ ...settings, async_stack_size: STACK });
    return koffi;
  } catch (error) {
    return fail(
      'MPI_MISSING',
      'mpi',
      `the package koffi cannot be loaded (${messageOf(error).split('\n')[0]})`,
      'npm install koffi.',
      error,
    );
  }
}

/**
 * Open MPI and UCX rewrite the machine code of mmap and its like while V8's threads are running it, to learn of memory that is given
 * back; UCX also takes the signals by which V8 catches WebAssembly's faults. Neither is needed here. Read when the library loads.
 */
function keepHooksOff(env: NodeJS.ProcessEnv): void {
  env.UCX_MEM_MMAP_HOOK_MODE ??= 'none';
  env.UCX_MEM_EVENTS ??= 'no';
  env.UCX_ERROR_SIGNALS ??= '';
  env.OMPI_MCA_memory ??= '^patcher';
}

/** Opens the MPI library of the launcher that started this process, without initializing it. */
export function openMpi(launcher: LaunchedRank, env: NodeJS.ProcessEnv = process.env): MpiLibrary {
  const { load, address } = loadKoffi();
  keepHooksOff(process.env);
  const tried: string[] = [];
  let refused = '';
  for (const path of candidates(launcher, env)) {
    let library: Library;
    try {
      library = load(path);
    } catch (error) {
      tried.push(path);
      if (env.MPI_LIBRARY) refused = ` (${messageOf(error)})`;
      continue;
    }
    const version = versionOf(library, path);
    const abi = /mpi_abi/.test(path)
      ? STANDARD
      : /Open MPI/i.test(version)
        ? OPEN_MPI
        : /MPICH|Intel|MVAPICH/i.test(version)
          ? MPICH
          : null;
    if (abi) return bound(library, abi, address, path, version);
    tried.push(`${path} ("${version}" is not known)`);
  }
  return fail(
    'MPI_MISSING',
    'mpi',
    `started by a launcher as one of ${launcher.worldSize} processes, but found no MPI library: tried ${tried.join(', ')}${refused}`,
    `Install one (Debian: apt-get install ${launcher.kind === 'mpich' ? 'mpich' : 'openmpi-bin libopenmpi-dev'}), or name its file in MPI_LIBRARY.`,
  );
}

function versionOf(library: Library, path: string): string {
  const text = new Uint8Array(16384);
  const length = new Int32Array(1);
  try {
    // Works before MPI_Init.
    library.func('int MPI_Get_library_version(void *version, void *length)')(text, length);
  } catch (error) {
    return fail('MPI_MISSING', 'mpi', `${path} is no MPI library: ${messageOf(error)}`, 'Name the right file in MPI_LIBRARY.', error);
  }
  return new TextDecoder().decode(text.subarray(0, length[0])).replace(/\0.*$/s, '').split('\n')[0];
}

function bound(library: Library, abi: Abi, address: (pointer: unknown) => bigint, path: string, version: string): MpiLibrary {
  const handleOf = (value: string | number): Handle => (typeof value === 'number' ? value : address(library.symbol(value, 'void')));
  const [world, byte, float, double, sum] = [abi.world, abi.byte, abi.float, abi.double, abi.sum].map(handleOf);
  const h = abi.handle;
  const f = {
    init: library.func('int MPI_Init_thread(void *argc, void *argv, int required, void *provided)'),
    finalize: library.func('int MPI_Finalize()'),
    abort: library.func(`int MPI_Abort(${h} comm, int code)`),
    rank: library.func(`int MPI_Comm_rank(${h} comm, void *rank)`),
    size: library.func(`int MPI_Comm_size(${h} comm, void *size)`),
    allReduce: library.func(`int MPI_Allreduce(intptr_t send, void *values, int count, ${h} type, ${h} op, ${h} comm)`),
    broadcast: library.func(`int MPI_Bcast(void *bytes, int count, ${h} type, int root, ${h} comm)`),
    allGather: library.func(`int MPI_Allgather(void *sent, int count, ${h} type, void *all, int each, ${h} t, ${h} comm)`),
    allToAll: library.func(`int MPI_Alltoall(void *sent, int count, ${h} type, void *all, int each, ${h} t, ${h} comm)`),
  };
  const check = (name: string, code: number): void => {
    if (code !== 0) fail('MPI_FAILED', 'mpi', `${name} returned ${code}`, 'See the messages above.');
  };
  /** The call on another thread; what it works on must not move until then. */
  const waiting = (name: string, call: Native, ...args: unknown[]): Promise<void> =>
    new Promise((resolve, reject) => {
      call.async(...args, (error: Error | null, code: number) => {
        try {
          if (error) throw error;
          check(name, code);
          resolve();
        } catch (thrown) {
          reject(thrown);
        }
      });
    });
  const asked = (call: Native): number => {
    const value = new Int32Array(1);
    check('MPI_Comm', call(world, value));
    return value[0];
  };
  return {
    path,
    version,
    initialize() {
      const provided = new Int32Array(1);
      check('MPI_Init_thread', f.init(null, null, 3, provided));
    },
    finalize: () => void f.finalize(),
    abort(code) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LAST_WORDS);
      f.abort(world, code);
    },
    rank: () => asked(f.rank),
    size: () => asked(f.size),
    allReduce: (values, count) =>
      waiting('MPI_Allreduce', f.allReduce, abi.inPlace, values, count, values instanceof Float64Array ? double : float, sum, world),
    allReduceNow: (values) => check('MPI_Allreduce', f.allReduce(abi.inPlace, values, values.length, float, sum, world)),
    broadcast: (bytes, count, from) => waiting('MPI_Bcast', f.broadcast, bytes, count, byte, from, world),
    allGather: (sent, count, all) => waiting('MPI_Allgather', f.allGather, sent, count, byte, all, count, byte, world),
    allToAll: (sent, count, all) => waiting('MPI_Alltoall', f.allToAll, sent, count, byte, all, count, byte, world),
  };
}
