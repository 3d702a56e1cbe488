import { type ChildProcess, spawn } from 'node:child_process';
import { connect, createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

// Watchdogs in processes of their own, the built ones; the tests play the other ranks, all at the same time, as they mostly wait. Seconds until one that is
// silent is named:
const TIMEOUT = 2;

const file = (name: string) => fileURLToPath(new URL(`../../../support/${name}`, import.meta.url));
const children: ChildProcess[] = [];
const sockets: Socket[] = [];
afterAll(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** Starts one; what it said first, what it has printed as an error, and whether its process is still there. */
async function watchdog(rank: number, meeting: string) {
  const args = [file('watchdog.mjs'), JSON.stringify({ rank, timeout: TIMEOUT, token: 'secret' }), meeting];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  let [errors, answer] = ['', ''];
  child.stderr.on('data', (text) => (errors += text));
  child.stdout.on('data', (text) => (answer += text));
  while (!answer.includes('\n') && child.exitCode === null && child.signalCode === null) await wait(20);
  const lives = () => child.exitCode === null && child.signalCode === null;
  return { child, answer: answer.trim(), errors: () => errors, lives };
}

/** A caller, whose connection counts once the other side has taken it or has closed it again. */
async function call(port: number, host = '127.0.0.1') {
  const socket = connect(port, host);
  sockets.push(socket);
  socket.on('error', () => undefined);
  socket.resume();
  await new Promise((resolve) => socket.once('connect', resolve).once('error', resolve));
  const isClosed = async (within: number) => {
    for (const end = performance.now() + within; performance.now() < end && !socket.closed; ) await wait(10);
    return socket.closed;
  };
  return { socket, isClosed };
}

const line = (value: unknown) => `${JSON.stringify(value)}\n`;
const REPORT = { calls: 0, inside: false, finished: false };

/** Rank 1, which reports every so many milliseconds while `beats` is true. */
async function rankOne(port: number, every = 100) {
  const caller = await call(port);
  const rank = { ...caller, beats: true, heard: '' };
  caller.socket.on('data', (text) => (rank.heard += text));
  caller.socket.write(line({ token: 'secret', rank: 1 }));
  const timer = setInterval(() => rank.beats && caller.socket.write(line(REPORT)), every);
  caller.socket.once('close', () => clearInterval(timer));
  return rank;
}

test.concurrent('a rank that is silent is named, and the job ended; one that reports is not', async () => {
  const zero = await watchdog(0, 'here');
  const one = await rankOne(Number(zero.answer));
  await wait(2 * TIMEOUT * 1000);
  expect(zero.lives()).toBe(true);
  expect(one.heard).toContain('"calls":0');
  one.beats = false;
  await wait(2.5 * TIMEOUT * 1000);
  expect(zero.lives()).toBe(false);
  expect(zero.errors()).toMatch(/RANK_LOST \(mpi\): rank 1 did not answer for 2 s/);
});

test.concurrent('a step of the machine’s clock ends nobody', async () => {
  const zero = await watchdog(0, 'here');
  // Seldom enough that rank 0 looks between the step and the next report.
  await rankOne(Number(zero.answer), 900);
  await wait(1000);
  zero.child.stdin.write('an hour\n');
  await wait(2 * TIMEOUT * 1000);
  expect(zero.errors()).toBe('');
  expect(zero.lives()).toBe(true);
});

test.concurrent('who stood still himself, as on a machine that slept, takes it for nobody else’s silence', async () => {
  const zero = await watchdog(0, 'here');
  const one = await rankOne(Number(zero.answer));
  // And the other side: a rank whose watchdog stood still has not heard of rank 0.
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.resume();
    const timer = setInterval(() => one.beats && socket.write(line(REPORT)), 100);
    socket.once('close', () => clearInterval(timer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as { port: number };
  const other = await watchdog(2, JSON.stringify({ port, token: 'secret' }));
  expect(other.answer).toBe('true');
  await wait(1000);
  // All sleep, and wake one after another.
  one.beats = false;
  for (const { child } of [zero, other]) child.kill('SIGSTOP');
  await wait(2 * TIMEOUT * 1000);
  for (const { child } of [zero, other]) child.kill('SIGCONT');
  await wait(0.4 * TIMEOUT * 1000);
  one.beats = true;
  await wait(2 * TIMEOUT * 1000);
  expect(zero.errors() + other.errors()).toBe('');
  expect([zero.lives(), other.lives()]).toEqual([true, true]);
  server.close();
});

test.concurrent('a line without an end, another’s token and what is no JSON end the connection, not the job', async () => {
  const zero = await watchdog(0, 'here');
  const port = Number(zero.answer);
  const one = await rankOne(port);
  for (const text of ['x'.repeat(8192), line({ token: 'guess', rank: 1 }), line({ token: 'secret' }), 'GET / HTTP/1.1\r\n\r\n', 'null\n']) {
    const caller = await call(port);
    caller.socket.write(text);
    expect(await caller.isClosed(3000), text.slice(0, 30)).toBe(true);
  }
  await wait(1.5 * TIMEOUT * 1000);
  expect(zero.lives()).toBe(true);
  expect(await one.isClosed(0)).toBe(false);
});

test.concurrent('of callers who have not said who they are 64 are kept, and for five seconds', async () => {
  const zero = await watchdog(0, 'here');
  const port = Number(zero.answer);
  const idle = [];
  for (let i = 0; i < 64; i++) idle.push(await call(port));
  expect(await idle[63].isClosed(300)).toBe(false);
  const more = await call(port);
  expect(await more.isClosed(2000)).toBe(true);
  // One leaves, and there is room for a rank, which then takes none of it.
  idle[0].socket.destroy();
  await wait(200);
  const one = await rankOne(port);
  expect(await one.isClosed(500)).toBe(false);
  expect(one.heard).toContain('"calls":0');
  const next = await call(port);
  expect(await next.isClosed(300)).toBe(false);
  for (const caller of [...idle, next]) expect(await caller.isClosed(7000)).toBe(true);
  expect(await one.isClosed(0)).toBe(false);
  expect(zero.lives()).toBe(true);
});

const outer = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address;

test.runIf(outer).concurrent('where all ranks are on one machine it listens on its loopback only', async () => {
  const [here, everywhere] = [await watchdog(0, 'here'), await watchdog(0, 'everywhere')];
  const connected = async (port: number) => !(await (await call(port, outer)).isClosed(200));
  expect(await connected(Number(here.answer))).toBe(false);
  expect(await connected(Number(everywhere.answer))).toBe(true);
});
