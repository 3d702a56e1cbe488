import { takeLock } from './lock.js';

/** Seconds until it is looked again. */
const LOOK = 0.5;

/**
 * Does some work that several processes may want done: one of them does it, under a lock, and the others wait. `isDone` says whether it is, and keeps it from
 * being done again.
 */
export async function onlyOne(
  lock: string,
  isDone: () => Promise<boolean>,
  work: () => Promise<void>,
  pause = (seconds: number): Promise<void> => new Promise((goOn) => setTimeout(goOn, seconds * 1000)),
): Promise<void> {
  while (!(await isDone())) {
    const taken = await takeLock(lock);
    if ('holder' in taken) {
      await pause(LOOK);
      continue;
    }
    try {
      // Whoever held the lock may have done it meanwhile.
      if (!(await isDone())) await work();
      return;
    } finally {
      await taken.release();
    }
  }
}
