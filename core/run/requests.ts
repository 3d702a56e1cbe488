import type { Requests } from '../plugin/hooks.js';

const NONE: Requests = { stop: 0, checkpoint: 0, evaluate: 0, abandon: 0 };

/** What was asked of a run by plugins, signals or its caller since a step last looked. */
export class PendingRequests {
  private asked: { -readonly [K in keyof Requests]: Requests[K] } = { ...NONE };

  /** Whether a stop was ever asked for: by a signal, a page, the caller, or a plugin outside of onRequest. */
  stopAsked = false;

  ask(name: keyof Requests): void {
    this.asked[name] = 1;
    if (name === 'stop') this.stopAsked = true;
  }

  isAsked(name: keyof Requests): boolean {
    return this.asked[name] > 0;
  }

  /** Everything that was asked for, which counts as heard from now on. */
  take(): Requests {
    const { asked } = this;
    this.asked = { ...NONE };
    return asked;
  }
}
