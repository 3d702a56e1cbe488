import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const cli = fileURLToPath(new URL('../../../dist/presets/cli/main.js', import.meta.url));
// The tests run at the same time, as they mostly wait.
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-launch-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** `launch` with a script in mpirun's place, stopped as soon as that has written `begun`; seconds until it ended, its code, and what it said. */
async function stopped(name: string, script: string, grace: number) {
  const at = join(folder, name);
  await mkdir(at);
  const mpirun = join(at, 'mpirun');
  await writeFile(mpirun, `#!/bin/sh\ncase "$1" in --version) echo 'mpirun (Open MPI) 4.1'; exit;; esac\ncd ${at}\n${script}\n`);
  await chmod(mpirun, 0o755);
  const child = spawn(process.execPath, [
    cli,
    'launch',
    '--processes',
    '2',
    '--mpirun',
    mpirun,
    '--grace',
    String(grace),
    '--',
    'train',
    'emoji',
  ]);
  let said = '';
  child.stdout.on('data', (text) => (said += text));
  child.stderr.on('data', (text) => (said += text));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  while (!(await readFile(join(at, 'begun')).catch(() => null))) await wait(20);
  const since = performance.now();
  child.kill('SIGTERM');
  const code = await ended;
  return { code, said, seconds: (performance.now() - since) / 1000 };
}

test.concurrent('a launcher that does not hear yet is asked again, however late it is ready', async () => {
  const script = `trap '' USR1 USR2; echo > begun; sleep 7; trap 'echo heard; exit 0' USR1; while :; do sleep 0.1; done`;
  const { code, said, seconds } = await stopped('late', script, 60);
  expect(said).toContain('heard');
  expect(code).toBe(143);
  expect(seconds).toBeLessThan(25);
});

test.concurrent('one that never hears, and leaves a process behind that holds its output, is at an end after the grace', async () => {
  const script = `trap '' USR1 USR2; setsid sleep 60 & echo $! > left; echo > begun; while :; do sleep 1; done`;
  const { code, said, seconds } = await stopped('deaf', script, 2);
  expect(said).toContain('the processes have not ended within 2 s');
  expect(code).toBe(143);
  expect(seconds).toBeLessThan(15);
  process.kill(Number(await readFile(join(folder, 'deaf', 'left'), 'utf8')), 'SIGKILL');
});

test.concurrent('one that the stop itself ends, with a process left behind, is at an end as well', async () => {
  const script = `setsid sleep 60 & echo $! > left; echo > begun; exec sleep 60`;
  const { code, seconds } = await stopped('gone', script, 60);
  expect(code).toBe(143);
  expect(seconds).toBeLessThan(10);
  process.kill(Number(await readFile(join(folder, 'gone', 'left'), 'utf8')), 'SIGKILL');
});
