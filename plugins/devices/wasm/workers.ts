import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { fail } from '../../../core/index.js';
import type { ModuleKernels } from './module.js';
import type { Scratch } from './scratch.js';

/** One call of a kernel over blocks; a thread puts its range of blocks and its room into the arguments. */
export interface Shared {
  /** The kernel's number, from {@link Workers.add}. */
  readonly kernel: number;
  readonly args: readonly number[];
  /** Where among the arguments the first block, the block after the last, and the address of the thread's room stand. */
  readonly places: { readonly from: number; readonly to: number; readonly room: number };
  readonly blocks: number;
  /** Blocks that a thread takes at a time. */
  readonly chunk: number;
}

/** Whose threads they are. */
export interface WorkersOf {
  /** The main one counted. */
  readonly threads: number;
  readonly memory: WebAssembly.Memory;
  readonly compiled: WebAssembly.Module;
  readonly module: ModuleKernels;
  readonly scratch: Scratch;
}

/** Bytes that a thread computes in: see assembly/adamw8bit.ts, assembly/tiles.ts and assembly/winograd.ts. */
export const ROOM = 2 << 20;

/** Words of the control array. */
const WAKE = 0;
/** Chunks that no thread has taken yet, counted down: taking one and learning whether there was one are the same operation. */
const LEFT = 1;
const DONE = 2;
/** 1 once a thread has thrown: its share is never done. */
const FAILED = 3;
const WORDS = 4;
const MOST_ARGS = 32;
/** Waits of so many milliseconds until a thread is given up that neither works nor throws. One is over at once when a process goes on that was stopped (Ctrl-Z). */
const PATIENCE = 10_000;
const WAITS = 60;
/** How often a thread looks, some hundred microseconds, before it sleeps: waking takes about as long as a short kernel. */
const LOOKS = 100_000;

/** One call as threads see it, read again only where another has begun. */
interface Current {
  call: number;
  kernel: (...args: number[]) => void;
  args: number[];
}

/** What runs in a worker, and, in `take`, on the main thread as well. It has no scope but its arguments. */
const take = (
  control: Int32Array,
  job: Float64Array,
  kernelAt: (k: number) => (...args: number[]) => void,
  room: number,
  now: Current,
): void => {
  for (;;) {
    const left = Atomics.sub(control, 1, 1);
    if (left <= 0) return;
    const [kernel, count, from, to, roomAt, blocks, chunk] = job;
    // Who has a chunk keeps the call from ending: its number and arguments do not change meanwhile.
    const call = Atomics.load(control, 0);
    if (call !== now.call) {
      now.call = call;
      now.kernel = kernelAt(kernel);
      now.args = Array.from(job.subarray(8, 8 + count));
      now.args[roomAt] = room;
    }
    now.args[from] = (left - 1) * chunk;
    now.args[to] = Math.min(blocks, left * chunk);
    now.kernel(...now.args);
    Atomics.add(control, 2, 1);
    Atomics.notify(control, 2);
  }
};

const program = `
  const { workerData, receiveMessageOnPort } = require('node:worker_threads');
  const { memory, control, job, port, room } = workerData;
  const kernels = [];
  const take = ${take.toString()};
  // A kernel's message was sent before the first call of it.
  const kernelAt = (k) => {
    while (kernels.length <= k) {
      const { module, name } = receiveMessageOnPort(port).message;
      kernels.push(new WebAssembly.Instance(module, { env: { memory } }).exports[name]);
    }
    return kernels[k];
  };
  const now = { call: -1 };
  for (let seen = 0; ; ) {
    try {
      take(control, job, kernelAt, room, now);
    } catch (error) {
      Atomics.store(control, ${FAILED}, 1);
      Atomics.notify(control, ${DONE});
      throw error;
    }
    for (let looks = 0; looks < ${LOOKS} && Atomics.load(control, ${WAKE}) === seen; looks++);
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
  private readonly kernels: ((...args: number[]) => void)[] = [];
  private readonly ports: MessagePort[] = [];
  private readonly threads: Worker[] = [];
  private readonly now: Current = { call: -1, kernel: () => undefined, args: [] };
  /** Numbers of kernels of our module that threads have. */
  private readonly numbers = new Map<string, number>();

  constructor(private readonly of: WorkersOf) {
    const { threads, memory, scratch } = of;
    for (let thread = 1; thread < threads; thread++) {
      const { control, job } = this;
      const { port1, port2 } = new MessageChannel();
      const workerData = { memory, control, job, port: port2, room: scratch.at(`room ${thread}`, ROOM) };
      const worker = new Worker(program, { eval: true, execArgv: [], workerData, transferList: [port2] });
      // It sleeps between calls, and does not keep the process alive.
      worker.unref();
      port1.unref();
      this.ports.push(port1);
      this.threads.push(worker);
    }
  }

  terminate(): void {
    for (const thread of this.threads) void thread.terminate();
  }

  /** Gives every thread a kernel: the export `name` of a module, which here is `call`. */
  add(module: WebAssembly.Module, name: string, call: (...args: number[]) => void): number {
    for (const port of this.ports) port.postMessage({ module, name });
    return this.kernels.push(call) - 1;
  }

  /** The number of a kernel of our module. */
  numberOf(name: keyof ModuleKernels): number {
    let number = this.numbers.get(name);
    if (number === undefined) {
      number = this.add(this.of.compiled, name, this.of.module[name] as (...args: number[]) => void);
      this.numbers.set(name, number);
    }
    return number;
  }

  run({ kernel, args, places, blocks, chunk }: Shared, room: number): void {
    const { control, job } = this;
    const chunks = Math.ceil(blocks / chunk);
    job.set([kernel, args.length, places.from, places.to, places.room, blocks, chunk, 0, ...args]);
    Atomics.store(control, DONE, 0);
    Atomics.add(control, WAKE, 1);
    // From here on threads may take chunks: everything they read is written.
    Atomics.store(control, LEFT, chunks);
    Atomics.notify(control, WAKE);
    take(control, job, (k) => this.kernels[k], room, this.now);
    for (let looks = 0, waits = 0; ; looks++) {
      const done = Atomics.load(control, DONE);
      if (done >= chunks) return;
      if (looks < LOOKS) continue;
      if (Atomics.load(control, FAILED) === 1 || waits === WAITS)
        fail(
          'DEVICE_FAILED',
          'wasm',
          waits === WAITS
            ? `a thread did not finish its share within ${(WAITS * PATIENCE) / 60_000} minutes`
            : 'a thread ended with an error',
          'Train with threads 1, and report it.',
        );
      if (Atomics.wait(control, DONE, done, PATIENCE) === 'timed-out') waits++;
    }
  }
}
