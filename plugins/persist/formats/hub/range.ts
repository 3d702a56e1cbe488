import { fail } from '../../../../core/index.js';
import { type Asking, ATTEMPTS, ask, pauseAfter, Unreachable } from './ask.js';

/**
 * Part of a file of the hub, from byte `from` up to the one before `to`, which is kept nowhere. A connection that breaks is opened again, and goes on where it broke.
 * HUB_FAILED where it goes on breaking, or where no parts are to be had.
 */
export async function fetchRange(of: Asking, url: string, from: number, to: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(to - from);
  for (let have = 0, attempt = 0; ; ) {
    if (have === bytes.byteLength) return bytes;
    const response = await ask(of, url, { headers: { Range: `bytes=${from + have}-${to - 1}` } }).catch((error: unknown) => {
      if (!(error instanceof Unreachable)) throw error;
      return fail('HUB_FAILED', 'hub', `${url} cannot be reached: ${error.message}`, 'Try again later.', error);
    });
    if (response.status !== 206) {
      await response.body?.cancel();
      return fail('HUB_FAILED', 'hub', `${url} gives no parts of it`, 'Leave streaming out: the file is then fetched whole.');
    }
    const before = have;
    try {
      for await (const chunk of (response.body ?? []) as unknown as AsyncIterable<Uint8Array>) {
        // Of what is too long the beginning is taken.
        bytes.set(chunk.subarray(0, bytes.byteLength - have), have);
        have = Math.min(bytes.byteLength, have + chunk.byteLength);
      }
    } catch {
      // It broke off.
    }
    if (have === bytes.byteLength) return bytes;
    if (have > before) attempt = 0;
    else if (++attempt >= ATTEMPTS)
      fail('HUB_FAILED', 'hub', `${url} breaks off at byte ${from + have} of the part up to ${to}`, 'Try again later.');
    await of.pause(pauseAfter(attempt));
  }
}
