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

  /** Times a tap. */
  readonly timing: Timing = (hook, plugin, call) => {
    const time: TapTime = { hook, plugin, calls: 0, milliseconds: 0 };
    this.times.push(time);
    return (...args) => {
      time.calls++;
      return this.measure(
        hook,
        plugin,
        () => call(...args),
        (milliseconds) => {
          time.milliseconds += milliseconds;
        },
      );
    };
  };

  /** Notes how long something takes, until its promise settles if it returns one. */
  measure<T>(hook: string, part: string, work: () => T, told?: (milliseconds: number) => void): T {
    const start = performance.now() - this.began;
    const end = () => {
      const milliseconds = performance.now() - this.began - start;
      told?.(milliseconds);
      if (this.spans.length < MOST_SPANS) this.spans.push({ hook, part, start, milliseconds });
    };
    let value: T;
    try {
      value = work();
    } catch (error) {
      end();
      throw error;
    }
    if (value instanceof Promise) return value.finally(end) as T;
    end();
    return value;
  }
}
