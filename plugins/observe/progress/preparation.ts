import type { TextStream } from '../progress.js';

/** Shows how far something is that is done before the first step: on one line of a terminal, elsewhere a line for each tenth. Needs Node. */
export const preparation = (stream: TextStream = process.stderr) => {
  let tenths = 0;
  return (done: number, of: number, what: string): void => {
    const text = `${what} ${done}/${of}`;
    const now = Math.floor((10 * done) / of);
    if (stream.isTTY) stream.write(`\r${text}${done === of ? '\n' : ''}`);
    else if (now !== tenths) stream.write(`${text}\n`);
    // The next thing begins anew.
    tenths = now % 10;
  };
};
