import type { Worker } from 'node:worker_threads';
import { announce, CLOSED, ENDED, HAPPENED, newSigns, type Work } from './compile-work.js';
import { hideErrors } from './native-errors.js';

const MOST_THREADS = 16;

/** Threads of which nothing is heard for so long hang, in milliseconds. */
const LONGEST = 60_000;

const file = (): URL => new URL('./compile-worker.js', import.meta.url);

/** How many threads can compile here: none in browsers, nor where they would take the processors from the main thread. */
export function possibleThreads(): number {
  const builtin = globalThis.process?.getBuiltinModule;
  if (!builtin?.('node:fs').existsSync(file())) return 0;
  const threads = Math.min(MOST_THREADS, builtin('node:os').availableParallelism());
  return threads < 3 ? 0 : threads;
}

/** Threads that compile shaders, each for a device of its own. The main thread needs no event loop for them, as it computes without a pause meanwhile. */
export class CompileThreads {
  private readonly signs = newSigns();
  private readonly workers: Worker[] = [];
  private readonly showErrors: () => void;

  constructor(threads: number) {
    const { Worker } = process.getBuiltinModule('node:worker_threads');
    this.showErrors = hideErrors();
    try {
      while (this.workers.length < threads) {
        const worker = new Worker(file(), { workerData: this.signs, stderr: true });
        // What fails in a thread is done again without it.
        worker.on('error', () => undefined).unref();
        this.workers.push(worker);
      }
    } catch {
      // The system has no more of them.
    }
  }

  /** Has a shader compiled, unless somebody else begins it before. */
  add({ code, state }: Work): void {
    for (const worker of this.workers) worker.postMessage({ code, state } satisfies Work);
    announce(this.signs);
  }

  /** No more are added: a thread ends when it finds nothing to begin. */
  close(): void {
    Atomics.store(this.signs, CLOSED, 1);
    announce(this.signs);
  }

  /** The number of all that has happened. */
  get happened(): number {
    return Atomics.load(this.signs, HAPPENED);
  }

  /** Waits until more than that has happened. False if nothing will: the threads have ended, or hang. */
  wait(happened: number): boolean {
    return !this.haveEnded && Atomics.wait(this.signs, HAPPENED, happened, LONGEST) !== 'timed-out';
  }

  /** Closes, and waits for the threads to end. */
  end(): void {
    this.close();
    for (let { happened } = this; this.wait(happened); ) ({ happened } = this);
    if (!this.haveEnded) for (const worker of this.workers) void worker.terminate();
    this.showErrors();
  }

  private get haveEnded(): boolean {
    return Atomics.load(this.signs, ENDED) === this.workers.length;
  }
}
