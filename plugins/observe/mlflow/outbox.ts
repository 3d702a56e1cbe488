/** What a receiver does with what it is given; it throws where it does not take it. */
export interface Receiver<T> {
  /** Takes records, at most `batch` of them. */
  take(records: readonly T[]): Promise<void>;
  /** After an error: what is to be done about what was to be sent. */
  judge(error: unknown): 'again' | 'drop' | 'end';
}

export interface OutboxOptions {
  readonly batch: number;
  /** Records that are kept while the receiver is away; beyond, the oldest go. */
  readonly most: number;
  /** Milliseconds until the nth attempt after one that failed, from 0. */
  readonly pause: (attempt: number) => number;
}

type Work = () => Promise<void>;

/** Records and work for a receiver, done in their order in the background, again where it is away. */
export class Outbox<T> {
  private readonly queue: (T[] | Work)[] = [];
  private records = 0;
  private pumping: Promise<void> | null = null;
  private wake: (() => void) | null = null;
  /** Until when attempts are made, once nothing more comes; in milliseconds of performance.now(). */
  private deadline = Number.POSITIVE_INFINITY;
  private ended = false;
  /** Records that were let go while the receiver was away. */
  dropped = 0;

  constructor(
    private readonly receiver: Receiver<T>,
    private readonly options: OutboxOptions,
  ) {}

  /** Adds records behind what is waiting. */
  add(records: readonly T[]): void {
    if (this.ended) return;
    const last = this.queue.at(-1);
    if (Array.isArray(last)) last.push(...records);
    else this.queue.push([...records]);
    this.records += records.length;
    this.letGo();
    this.start();
  }

  /** Adds work behind what is waiting. */
  work(work: Work): void {
    if (this.ended) return;
    this.queue.push(work);
    this.start();
  }

  /** Sends what is left, for so many milliseconds where the receiver is away. Returns what could not be sent. */
  async close(patience: number): Promise<{ records: number; works: number }> {
    this.deadline = performance.now() + patience;
    this.wake?.();
    await this.pumping;
    this.ended = true;
    return { records: this.records, works: this.queue.filter((entry) => !Array.isArray(entry)).length };
  }

  private letGo(): void {
    for (const entry of this.queue) {
      if (this.records <= this.options.most) return;
      if (!Array.isArray(entry)) continue;
      const gone = entry.splice(0, this.records - this.options.most).length;
      this.records -= gone;
      this.dropped += gone;
    }
  }

  private start(): void {
    this.pumping ??= this.pump();
  }

  private async pump(): Promise<void> {
    // What comes at once goes at once.
    await Promise.resolve();
    try {
      await this.empty();
    } finally {
      // At once: what comes from now on begins another.
      this.pumping = null;
    }
  }

  private async empty(): Promise<void> {
    for (let attempt = 0; this.queue.length > 0; ) {
      const [first] = this.queue;
      // Taken out meanwhile: what is let go is none of it.
      const batch = Array.isArray(first) ? first.splice(0, this.options.batch) : null;
      this.records -= batch?.length ?? 0;
      let judged: 'sent' | ReturnType<Receiver<T>['judge']> = 'sent';
      try {
        if (batch === null) await (first as Work)();
        else if (batch.length > 0) await this.receiver.take(batch);
      } catch (error) {
        judged = this.receiver.judge(error);
      }
      if (judged === 'end') {
        this.ended = true;
        this.queue.length = 0;
        this.records = 0;
        return;
      }
      if (judged === 'again') {
        if (batch) {
          (first as T[]).unshift(...batch);
          this.records += batch.length;
          this.letGo();
        }
        if (performance.now() >= this.deadline) return;
        await this.sleep(this.options.pause(attempt++));
        continue;
      }
      attempt = 0;
      if (!Array.isArray(first) || first.length === 0) this.queue.shift();
    }
  }

  private sleep(milliseconds: number): Promise<void> {
    const time = Math.min(milliseconds, Math.max(0, this.deadline - performance.now()));
    return new Promise((goOn) => {
      const timer = setTimeout(goOn, time);
      this.wake = () => {
        clearTimeout(timer);
        goOn();
      };
    });
  }
}
