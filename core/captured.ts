/** Why something cannot be captured and replayed, or gone through without values. Whoever captures it catches this. */
export class NotReplayable extends Error {}

let capturing = false;
/** The plugin whose wrap is running, if one of a plugin's is. */
let wrapping: string | undefined;
const plugins = new WeakMap<object, string>();

export const isCapturing = (): boolean => capturing;

/** What somebody does, with the plugin's name where it happens within a plugin's wrap. */
export const saidOf = (does: string): string => `${wrapping ?? 'it'} ${does}`;

/** Throws NotReplayable where a computation is being captured. */
export function refuseWhileCaptured(does: string): void {
  if (capturing) throw new NotReplayable(saidOf(does));
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

/** Remembers whose wraps these are that were not there before. */
export function noteWraps(
  plugin: string,
  before: ReadonlyMap<string, readonly object[]>,
  after: ReadonlyMap<string, readonly object[]>,
): void {
  const known = new Set([...before.values()].flat());
  for (const wraps of after.values()) for (const wrap of wraps) if (!known.has(wrap) && !plugins.has(wrap)) plugins.set(wrap, plugin);
}

/** Runs a wrap's call, or with null what it wraps, so that what it does is said of its plugin. */
export function onBehalfOf<T>(wrap: object | null, call: () => T): T {
  if (!capturing) return call();
  const before = wrapping;
  wrapping = wrap ? plugins.get(wrap) : undefined;
  try {
    return call();
  } finally {
    wrapping = before;
  }
}
