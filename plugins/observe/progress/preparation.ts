import { StatusLine, type TextStream } from './status-line.js';

/**
 * Shows how far something is beside steps, pictures that are drawn say: on the last line of a terminal, where what stood there comes back when it is done,
 * elsewhere a line for each tenth. Needs Node.
 */
export const preparation = (stream: TextStream = process.stderr) => {
  let tenths = 0;
  let before: string | null = null;
  return (done: number, of: number, what: string): void => {
    const text = `${what} ${done}/${of}`;
    const now = Math.floor((10 * done) / of);
    if (stream.isTTY) {
      const line = StatusLine.of(stream);
      before ??= line.shown;
      line.show(text);
      if (done === of) {
        if (before === '') line.leave();
        else line.show(before);
        before = null;
      }
    } else if (now !== tenths) stream.write(`${text}\n`);
    // The next thing begins anew.
    tenths = now % 10;
  };
};

/** The same on a terminal alone: of what comes again and again a log has no use, and a browser has none. */
export const whileWatched = () => ((globalThis.process as NodeJS.Process | undefined)?.stderr?.isTTY ? { onProgress: preparation() } : {});
