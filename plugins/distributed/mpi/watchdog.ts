import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { LaunchedRank } from './environment.js';

/** Words that the main thread and the watchdog share: collective calls made, whether in one, the run's state. */
export const CALLS = 0;
export const INSIDE = 1;
export const STATE = 2;
export const [RUNNING, FINISHED] = [0, 1];

/** What a rank that is named is reported as. */
export const LOST = 'RANK_LOST';

/** Where rank 0's watchdog listens, and what proves that a caller belongs to this run. */
export interface Meeting {
  readonly port: number;
  readonly token: string;
  readonly host: string;
  readonly addresses: readonly string[];
}

export interface WatchdogData {
  readonly rank: number;
  readonly host: string;
  readonly timeout: number;
  readonly words: SharedArrayBuffer;
  readonly token: string;
  readonly launcher: LaunchedRank;
}

/**
 * A thread beside each rank's main one, which may be blocked: the watchdogs tell one another, through rank 0's, which collective
 * call their rank is in. A rank that stays away from a call longer than `timeout` seconds, that no longer answers, or whose
 * process is gone before the run ended, is named, and the whole job ended.
 */
export class Watchdog {
  private readonly words: Int32Array;
  private readonly worker: Worker | null;

  constructor(data: Omit<WatchdogData, 'words'>) {
    const words = new SharedArrayBuffer(12);
    this.words = new Int32Array(words);
    const file = new URL('./watchdog-worker.js', import.meta.url);
    // Sources that run without being built have no worker beside them.
    this.worker = existsSync(fileURLToPath(file)) ? new Worker(file, { workerData: { ...data, words } satisfies WatchdogData }) : null;
    this.worker?.unref();
  }

  /** Rank 0's: begins to listen, for ranks of this machine or of others as well. Null where there is no worker. */
  async listen(where: 'here' | 'everywhere'): Promise<Pick<Meeting, 'port' | 'addresses'> | null> {
    const port = await this.ask<number>({ listen: where });
    if (port === null) return null;
    const addresses = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).filter((a) => !a.internal).map((a) => a.address));
    return { port, addresses };
  }

  /** Whether rank 0's answered. */
  async join(meeting: Meeting): Promise<boolean> {
    return (await this.ask<boolean>(meeting)) ?? false;
  }

  /** A file that is removed before the job is ended for a rank that was named: whose process goes then needs no witness. */
  removeFirst(file: string): void {
    this.worker?.postMessage({ file });
  }

  /** Tells that this rank waits for the others in a call. */
  enterCall(): void {
    Atomics.add(this.words, CALLS, 1);
    Atomics.store(this.words, INSIDE, 1);
  }

  leaveCall(): void {
    Atomics.store(this.words, INSIDE, 0);
  }

  /** A run begins. */
  runBegins(): void {
    Atomics.store(this.words, STATE, RUNNING);
  }

  /** A run has ended well: this process may go. */
  async runEnded(): Promise<void> {
    Atomics.store(this.words, STATE, FINISHED);
    await this.ask<boolean>('tell');
  }

  private async ask<T>(message: unknown): Promise<T | null> {
    if (!this.worker) return null;
    const { worker } = this;
    return new Promise<T>((resolve) => {
      worker.once('message', resolve);
      worker.postMessage(message);
    });
  }
}
