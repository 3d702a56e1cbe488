import type { Undo } from '../compute/undo.js';

/** One: threads share memory, which a page has only where its server isolates it from others. */
export const mostThreads = (): number => 1;

/** There is nothing to remember. */
export const keepListeners = (): Undo => () => undefined;

/** The package was written for browsers, and lacks nothing there. */
export const duringStart = (): Undo => () => undefined;
