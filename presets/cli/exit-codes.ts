/**
 * What the process ends with: something was wrong before anything was trained, or training failed. A run that a signal stopped ends with 128 and
 * the signal's number, as shells have it: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP; a stop asked for on the page is Ctrl-C's.
 */
export const EXIT = { usage: 2, failed: 1 } as const;
