/** What the process ends with: something was wrong before anything was trained; training failed; Ctrl-C or SIGTERM stopped it. */
export const EXIT = { usage: 2, failed: 1, interrupted: 130, terminated: 143 } as const;
