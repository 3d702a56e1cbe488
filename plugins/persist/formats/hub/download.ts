import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fail, SteploomError } from '../../../../core/index.js';
import { guarded } from '../atomic-file.js';
import { onlyOne } from '../only-one.js';
import { type Asking, ATTEMPTS, ask, pauseAfter, Unreachable } from './ask.js';
import type { HubFile } from './listing.js';

const sizeOf = (path: string): Promise<number | null> =>
  stat(path).then(
    ({ size }) => size,
    () => null,
  );

/** What names a file's content, as the hub does: a SHA-256, or the SHA-1 of git's object. */
async function keyOf(path: string, { size, key }: HubFile): Promise<string> {
  const hash = key.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

/** Adds to a file what it lacks. A connection that breaks is opened again, and goes on where it broke. */
async function complete(of: Asking, url: string, path: string, { size }: HubFile): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const from = (await sizeOf(path)) ?? 0;
    if (from === size) return;
    const response = await ask(of, url, from > 0 && from < size ? { headers: { Range: `bytes=${from}-` } } : {}).catch((error: unknown) => {
      if (!(error instanceof Unreachable)) throw error;
      return fail('HUB_FAILED', 'hub', `${url} cannot be reached: ${error.message}`, 'Try again: what is there already is kept.', error);
    });
    // A server that knows no ranges, or another file than it was, begins anew.
    const file = await open(path, response.status === 206 ? 'a' : 'w');
    let got = 0;
    try {
      if (response.status !== 416)
        for await (const chunk of (response.body ?? []) as unknown as AsyncIterable<Uint8Array>) {
          await file.write(chunk);
          got += chunk.byteLength;
        }
      await file.sync();
    } catch (error) {
      // What this machine says of its disk is no fault of the connection's.
      if ((error as NodeJS.ErrnoException).syscall === 'write') throw error;
    } finally {
      await file.close();
    }
    const have = (await sizeOf(path)) ?? 0;
    if (have === size) return;
    if (have > size) await rm(path);
    if (got > 0 && have <= size) attempt = -1;
    else if (attempt + 1 >= ATTEMPTS)
      fail('HUB_FAILED', 'hub', `${url} breaks off at byte ${have} of ${size}`, 'Try again: what is there already is kept.');
    await of.pause(pauseAfter(Math.max(attempt, 0)));
  }
}

/**
 * Fetches a file to `path`, where it appears when it is whole: its size and hash are the hub's. What an earlier process has got of it is used. Of processes that want the same file
 * one fetches it (`lock`), and the others wait. HUB_FAILED where it comes damaged, twice.
 */
export async function download(of: Asking, url: string, path: string, lock: string, file: HubFile): Promise<void> {
  const isDone = async () => (await sizeOf(path)) === file.size;
  await onlyOne(lock, isDone, () => fetchWhole(of, url, path, file), of.pause);
}

async function fetchWhole(of: Asking, url: string, path: string, file: HubFile): Promise<void> {
  // Python's library has a name of its own for what is not whole, and a lock that is none here.
  const unfinished = `${path}.steploom.incomplete`;
  await guarded(path, async () => {
    await mkdir(dirname(path), { recursive: true });
    // What was left there may be damaged: then all of it is fetched once more.
    for (const isLast of [false, true]) {
      if (file.size === 0) await (await open(unfinished, 'w')).close();
      await complete(of, url, unfinished, file);
      if ((await keyOf(unfinished, file)) === file.key) break;
      await rm(unfinished);
      if (isLast) throw damaged(url);
    }
    await rename(unfinished, path);
  });
}

const damaged = (url: string): SteploomError =>
  new SteploomError({
    code: 'HUB_FAILED',
    plugin: 'hub',
    what: `${url} came with other bytes than the hub says, twice`,
    fix: 'Try another network, or another HF_ENDPOINT.',
  });
