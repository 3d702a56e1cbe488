import { Worker } from 'node:worker_threads';

/** One call of a kernel over blocks; the worker puts its own range of blocks and its own room into the arguments. */
export interface Shared {
  readonly kernel: string;
  readonly args: readonly number[];
  /** Where among the arguments the first block, the block after the last, and the address of the thread's room stand. */
  readonly places: { readonly from: number; readonly to: number; readonly room: number };
  readonly blocks: number;
  /** Blocks that a thread takes at a time. */
  readonly chunk: number;
}

/** Words of the control array. */
const WAKE = 0;
/** Chunks nobody has taken yet, counted down: taking one and learning whether there was one are the same operation. */
const LEFT = 1;
const DONE = 2;
const WORDS = 4;
const MOST_ARGS = 32;
const PATIENCE = 10_000;

/** What runs in a worker, and, in `take`, on the main thread as well. It has no scope but its arguments. */
const take = (control: Int32Array, job: Float64Array, kernels: readonly ((...args: number[]) => void)[], room: number): void => {
  for (;;) {
    const left = Atomics.sub(control, 1, 1);
    if (left <= 0) return;
    const [kernel, count, from, to, roomAt, blocks, chunk] = job;
    const args = Array.from(job.subarray(8, 8 + count));
    args[from] = (left - 1) * chunk;
    args[to] = Math.min(blocks, left * chunk);
    args[roomAt] = room;
    kernels[kernel](...args);
    Atomics.add(control, 2, 1);
    Atomics.notify(control, 2);
  }
};

const program = `
  const { workerData } = require('node:worker_threads');
  const { bytes, memory, control, job, names, room } = workerData;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  const kernels = names.map((name) => exports[name]);
  const take = ${take.toString()};
  for (let seen = 0; ; ) {
    take(control, job, kernels, room);
    Atomics.wait(control, ${WAKE}, seen);
    seen = Atomics.load(control, ${WAKE});
  }`;

/**
 * Threads that share a kernel's blocks with the main one, in the wasm backend's shared memory. The main thread works along and
 * waits at the end, so a call is synchronous, and threads that have not started yet are not waited for. Needs Node.
 */
export class Workers {
  private readonly control = new Int32Array(new SharedArrayBuffer(4 * WORDS));
  private readonly job = new Float64Array(new SharedArrayBuffer(8 * (8 + MOST_ARGS)));
  private readonly kernels: readonly ((...args: number[]) => void)[];
  private readonly names: readonly string[];

  constructor(
    options: {
      readonly threads: number;
      readonly bytes: Uint8Array;
      readonly memory: WebAssembly.Memory;
      readonly names: readonly string[];
      /** Memory of a thread's own, by its number from 1 on. */
      readonly room: (thread: number) => number;
    },
    exports: Readonly<Record<string, unknown>>,
  ) {
    const { threads, bytes, memory, names, room } = options;
    this.names = names;
    this.kernels = names.map((name) => exports[name] as (...args: number[]) => void);
    for (let thread = 1; thread < threads; thread++) {
      const { control, job } = this;
      const worker = new Worker(program, { eval: true, workerData: { bytes, memory, control, job, names, room: room(thread) } });
      // It sleeps between calls, and does not keep the process alive.
      worker.unref();
    }
  }

  run({ kernel, args, places, blocks, chunk }: Shared, room: number): void {
    const { control, job } = this;
    const chunks = Math.ceil(blocks / chunk);
    job.set([this.names.indexOf(kernel), args.length, places.from, places.to, places.room, blocks, chunk, 0, ...args]);
    Atomics.store(control, DONE, 0);
    // From here on threads may take chunks: everything they read is written.
    Atomics.store(control, LEFT, chunks);
    Atomics.add(control, WAKE, 1);
    Atomics.notify(control, WAKE);
    take(control, job, this.kernels, room);
    for (;;) {
      const done = Atomics.load(control, DONE);
      if (done >= chunks) return;
      if (Atomics.wait(control, DONE, done, PATIENCE) === 'timed-out')
        throw new Error(`a thread of the wasm device did not finish ${kernel}`);
    }
  }
}
