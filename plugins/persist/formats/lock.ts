import { randomUUID } from 'node:crypto';
import { constants, readFileSync } from 'node:fs';
import { copyFile, link, mkdir, readFile, rm, rmdir, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';

/** Seconds between two signs of life, and after which one of another machine is given up: no sign is given while a step computes, which may take minutes. */
const BEAT = 20;
const GIVEN_UP = 600;
/** Milliseconds in which a dead one's lock is taken away. */
const TURN = 10_000;

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
async function written(path: string): Promise<Holder | null> {
  try {
    const holder: unknown = JSON.parse(await readFile(path, 'utf8'));
    return Number.isSafeInteger((holder as Holder | null)?.pid) ? (holder as Holder) : null;
  } catch {
    return null;
  }
}

/** Makes a lock, filled from its first moment; fails with EEXIST where there is one. */
async function make(path: string, mine: Holder): Promise<void> {
  const beside = `${path}.${mine.token}`;
  await writeFile(beside, `${JSON.stringify(mine)}\n`);
  try {
    await link(beside, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') throw error;
      // Some file systems have no second name for a file.
      return copyFile(beside, path, constants.COPYFILE_EXCL);
    });
  } finally {
    await rm(beside, { force: true });
  }
}

/** Takes a dead holder's lock away. Only one at a time may, and only the lock that it found dead: by now it may be a living one's. */
async function bury(path: string, dead: string | null): Promise<void> {
  const turn = `${path}.turn`;
  try {
    await mkdir(turn);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const age = await stat(turn).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    // Whoever had it was killed.
    if (Math.abs(age) > TURN) await rmdir(turn).catch(() => undefined);
    await new Promise((goOn) => setTimeout(goOn, 10));
    return;
  }
  try {
    if (dead !== null && (await lockText(path)) === dead) await rm(path, { force: true });
  } finally {
    await rmdir(turn);
  }
}

/** A lock's text; null where there is none. */
const lockText = (path: string): Promise<string | null> =>
  readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });

/** Takes a lock, over a dead holder's if there is one. Returns what gives it back; or its holder, where that lives. */
export async function takeLock(path: string): Promise<{ release(): Promise<void> } | { holder: Holder }> {
  const started = startOf(process.pid);
  const mine: Holder = { pid: process.pid, host: hostname(), ...(started === undefined ? {} : { started }), token: randomUUID() };
  await mkdir(dirname(path), { recursive: true });
  for (;;) {
    try {
      await make(path, mine);
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const there = await lockText(path);
      const holder = await holderOf(path);
      if (holder) return { holder };
      await bury(path, there);
    }
  }
  const beat = setInterval(() => utimes(path, new Date(), new Date()).catch(() => undefined), BEAT * 1000);
  beat.unref();
  return {
    release: async () => {
      clearInterval(beat);
      // One that was given up meanwhile is somebody else's.
      if ((await written(path))?.token === mine.token) await rm(path, { force: true });
    },
  };
}
