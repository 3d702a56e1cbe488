import type { Timing } from '../plugin/guard.js';

/** Time and calls of one plugin in one hook. */
export interface TapTime {
  readonly hook: string;
  readonly plugin: string;
  calls: number;
  milliseconds: number;
}

/** One call, in milliseconds since the run's set-up began; `part` is what of the core, or which plugin. */
export interface Span {
  readonly hook: string;
  readonly part: string;
  readonly start: number;
  readonly milliseconds: number;
}

/** Spans kept; a long run's later ones are not. */
const MOST_SPANS = 200_000;

/** Where a run's time goes: every tap's, and what the core does itself. */
export class Profile {
  readonly times: TapTime[] = [];
  /** The calls themselves, the first 200,000 of them. */
  readonly spans: Span[] = [];
  private readonly began = performance.now();
  /** The synchronous call that is under way, with what those within it took; what was synchronous so far. */
  private open: { inner: number } | null = null;
  private busy = 0;

  /** Times a tap. */
  readonly timing: Timing = (hook, plugin, call) => {
    const time = this.row(hook, plugin);
    return (...args) => this.timed(time, () => call(...args));
  };

  /** Times a part of the core. */
  core<T>(part: string, work: () => T): T {
    return this.timed(this.times.find((time) => time.hook === 'core' && time.plugin === part) ?? this.row('core', part), work);
  }

  private row(hook: string, plugin: string): TapTime {
    const time: TapTime = { hook, plugin, calls: 0, milliseconds: 0 };
    this.times.push(time);
    return time;
  }

  /**
   * Adds to a row what a call takes itself: without the timed calls within it and, where it returns a promise, without those that ran while it waited. The
   * span is all of it, until the promise settles.
   */
  private timed<T>(time: TapTime, work: () => T): T {
    time.calls++;
    const start = performance.now();
    const outer = this.open;
    const own = { inner: 0 };
    this.open = own;
    const span = () => {
      if (this.spans.length < MOST_SPANS)
        this.spans.push({ hook: time.hook, part: time.plugin, start: start - this.began, milliseconds: performance.now() - start });
    };
    let value: T;
    try {
      value = work();
    } catch (error) {
      span();
      throw error;
    } finally {
      this.open = outer;
      const taken = performance.now() - start;
      time.milliseconds += taken - own.inner;
      if (outer) outer.inner += taken;
      else this.busy += taken;
    }
    if (!(value instanceof Promise)) {
      span();
      return value;
    }
    const [waits, busy] = [performance.now(), this.busy];
    return value.finally(() => {
      time.milliseconds += performance.now() - waits - (this.busy - busy);
      span();
    }) as T;
  }
}
