import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';

/** Seconds between two signs of life, and after which one of another machine is given up: no sign is given while a step computes, which may take minutes. */
const BEAT = 20;
const GIVEN_UP = 600;
/** Milliseconds after which a lock that nobody filled is a dead one's. */
const FILLED_WITHIN = 200;

/** Who writes into a folder. */
export interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process began, as the system counts: a number may belong to another process by now. Absent where the system does not tell. */
  readonly started?: string;
  /** Tells this taking of the lock from every other. */
  readonly token?: string;
}

/** When a process began, in the kernel's ticks since it started (proc(5), field 22); undefined where there is no /proc. */
function startOf(pid: number): string | undefined {
  try {
    // The command, in brackets, may hold blanks.
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')[19];
  } catch {
    return undefined;
  }
}

function isAlive({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: somebody else's, but there.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return started === undefined || startOf(pid) === undefined || startOf(pid) === started;
}

/** Who holds a lock and lives; null where nobody does. On another machine whoever gave a sign of life lately counts as living. */
export async function holderOf(path: string): Promise<Holder | null> {
  const holder = await written(path);
  if (!holder) return null;
  if (holder.host === hostname()) return isAlive(holder) ? holder : null;
  const age = await stat(path).then(
    ({ mtimeMs }) => (Date.now() - mtimeMs) / 1000,
    () => Number.POSITIVE_INFINITY,
  );
  return age < GIVEN_UP ? holder : null;
}

/** What stands in a lock; null where there is none, or a kill cut it off. */
async function written(path: string, wait = FILLED_WITHIN): Promise<Holder | null> {
  try {
    const holder: unknown = JSON.parse(await readFile(path, 'utf8'));
    return Number.isSafeInteger((holder as Holder | null)?.pid) ? (holder as Holder) : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined || wait === 0) return null;
    // Another process has made it, and may be about to fill it.
    await new Promise((goOn) => setTimeout(goOn, wait));
    return written(path, 0);
  }
}

/** Takes a dead holder's lock out of the way. Another process may do the same at once, and hold it by now: then that one's is put back. */
async function bury(path: string, dead: Holder | null): Promise<void> {
  const grave = `${path}.${randomUUID()}`;
  try {
    await rename(path, grave);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const buried = await written(grave);
  if (buried?.token === dead?.token) await rm(grave, { force: true });
  else await rename(grave, path);
}

/** Takes a lock, over a dead holder's if there is one. Returns what gives it back; or its holder, where that lives. */
export async function takeLock(path: string): Promise<{ release(): Promise<void> } | { holder: Holder }> {
  const started = startOf(process.pid);
  const own: Holder = { pid: process.pid, host: hostname(), ...(started === undefined ? {} : { started }), token: randomUUID() };
  const isOwn = async () => (await written(path))?.token === own.token;
  await mkdir(dirname(path), { recursive: true });
  for (;;) {
    try {
      const file = await open(path, 'wx');
      await file.writeFile(`${JSON.stringify(own)}\n`).finally(() => file.close());
      if (await isOwn()) break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const dead = await written(path);
      const holder = await holderOf(path);
      if (holder) return { holder };
      await bury(path, dead);
    }
  }
  const beat = setInterval(() => utimes(path, new Date(), new Date()).catch(() => undefined), BEAT * 1000);
  beat.unref();
  return {
    release: async () => {
      clearInterval(beat);
      // One that was given up meanwhile is somebody else's.
      if (await isOwn()) await rm(path, { force: true });
    },
  };
}
