import { readFileSync } from 'node:fs';
import { mkdir, open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';

/** Seconds between two signs of life, and after which one of another machine is given up. */
const BEAT = 20;
const GIVEN_UP = 120;

/** Who writes into a folder. */
export interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process began, as the system counts: a number may belong to another process by now. Absent where the system does not tell. */
  readonly started?: string;
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
  let holder: Holder;
  let age: number;
  try {
    holder = JSON.parse(await readFile(path, 'utf8'));
    age = (Date.now() - (await stat(path)).mtimeMs) / 1000;
  } catch {
    // Not there, or cut off by a kill.
    return null;
  }
  if (holder.host !== hostname()) return age < GIVEN_UP ? holder : null;
  return isAlive(holder) ? holder : null;
}

/** Takes a lock, over a dead holder's if there is one. Returns what gives it back; or its holder, where that lives. */
export async function takeLock(path: string): Promise<{ release(): Promise<void> } | { holder: Holder }> {
  const started = startOf(process.pid);
  const own: Holder = { pid: process.pid, host: hostname(), ...(started === undefined ? {} : { started }) };
  await mkdir(dirname(path), { recursive: true });
  for (;;) {
    try {
      const file = await open(path, 'wx');
      await file.writeFile(`${JSON.stringify(own)}\n`);
      await file.close();
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = await holderOf(path);
      if (holder) return { holder };
      await rm(path, { force: true });
    }
  }
  const beat = setInterval(() => utimes(path, new Date(), new Date()).catch(() => undefined), BEAT * 1000);
  beat.unref();
  return {
    release: async () => {
      clearInterval(beat);
      await rm(path, { force: true });
    },
  };
}
