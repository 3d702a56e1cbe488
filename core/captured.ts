/** Why something cannot be captured and replayed. Whoever captures it catches this. */
export class NotReplayable extends Error {}

let capturing = false;

export const isCapturing = (): boolean => capturing;

/** Throws NotReplayable where a computation is being captured. */
export function refuseWhileCaptured(why: string): void {
  if (capturing) throw new NotReplayable(why);
}

/** Runs `fn`, in which nothing is computed. */
export function whileCapturing<T>(fn: () => T): T {
  capturing = true;
  try {
    return fn();
  } finally {
    capturing = false;
  }
}
