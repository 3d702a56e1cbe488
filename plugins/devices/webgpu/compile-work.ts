// What the main thread and the threads that compile for it (compile-threads.ts, compile-worker.ts) tell each other through shared memory.

/** A shader to be compiled by whoever begins it first. */
export interface Work {
  readonly code: string;
  readonly state: Int32Array;
}

const [FREE, BEGUN, OVER] = [0, 1, 2];

export const newState = (): Int32Array => new Int32Array(new SharedArrayBuffer(4));

export const isFree = ({ state }: Work): boolean => Atomics.load(state, 0) === FREE;

/** Whether whoever asks is the one that is to compile it. */
export const begin = ({ state }: Work): boolean => Atomics.compareExchange(state, 0, FREE, BEGUN) === FREE;

/** Whether a thread has compiled it, or tried to. */
export const isOver = ({ state }: Work): boolean => Atomics.load(state, 0) === OVER;

export function setOver({ state }: Work): void {
  Atomics.store(state, 0, OVER);
}

/** Where the numbers are that all threads share: of all that has happened, whether no more work comes, and of threads that have ended. */
export const [HAPPENED, CLOSED, ENDED] = [0, 1, 2];

export const newSigns = (): Int32Array => new Int32Array(new SharedArrayBuffer(12));

/** Wakes all that wait for something to happen. */
export function announce(signs: Int32Array): void {
  Atomics.add(signs, HAPPENED, 1);
  Atomics.notify(signs, HAPPENED);
}
