// The watchdog's thread; see watchdog.ts. Runs in a worker, speaks JSON lines over TCP with rank 0's. Imports the core's errors and not its index:
// this thread has no need of TensorFlow.js, and all ranks wait until rank 0's has started.
import { rmSync, writeSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { SteploomError } from '../../../core/errors.js';
import { problemLines } from './error-lines.js';
import { openMpi } from './library.js';
import { CALLS, FINISHED, INSIDE, LOST, type Meeting, STATE, type WatchdogData } from './watchdog.js';

const { rank, host, timeout, words, token, launcher } = workerData as WatchdogData;
const shared = new Int32Array(words);
/** Milliseconds between two reports. */
const BEAT = Math.min(1000, Math.max(50, timeout * 100));
/** How long a process that is gone is left to the launcher, which says why. */
const GRACE = 3000;

/** Milliseconds on a clock that nobody sets, and that stands still while the machine sleeps. */
const now = (): number => performance.now();

/** A line that is longer comes from nobody of ours; the first one tells who it is. */
const LONGEST = 4096;
/** How long a caller has to say who it is, and how many may be about to. */
const INTRODUCTION = 5000;
const CALLERS = 64;

interface RankState {
  readonly calls: number;
  readonly inside: boolean;
  readonly finished: boolean;
}

const report = (): RankState => ({
  calls: Atomics.load(shared, CALLS),
  inside: Atomics.load(shared, INSIDE) === 1,
  finished: Atomics.load(shared, STATE) === FINISHED,
});

/** What the main thread wants removed before the job is ended. */
let first: string | undefined;

/** Says why on this rank's error stream, and ends every rank. */
function end(why: string): never {
  const error = new SteploomError({ code: LOST, plugin: 'mpi', what: why, fix: 'See what it printed last.' });
  try {
    writeSync(2, `${problemLines(error).join('\n')}\n`);
  } catch {
    // The stream is closed; the job ends all the same.
  }
  if (first) rmSync(first, { force: true });
  try {
    openMpi(launcher).abort(1);
  } finally {
    // The launcher ends the others when one is killed.
    process.kill(process.pid, 'SIGKILL');
  }
  throw error;
}

const names = (ranks: readonly number[]): string => (ranks.length === 1 ? `rank ${ranks[0]}` : `ranks ${ranks.join(', ')}`);

/** One JSON value a line. */
function lines(socket: Socket, onValue: (value: never) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (text) => {
    const complete = (rest + text).split('\n');
    rest = complete.pop() as string;
    if (rest.length > LONGEST) {
      rest = '';
      socket.destroy();
    }
    for (const line of complete)
      try {
        onValue(JSON.parse(line) as never);
      } catch {
        socket.destroy();
      }
  });
  socket.on('error', () => undefined);
}

const sockets = new Set<Socket>();

/** What rank 0 knows of the others. */
const seen = new Map<number, { report: RankState; at: number; changed: number; gone?: number }>();

function note(from: number, given: RankState): void {
  const before = seen.get(from);
  const at = now();
  const changed = before && before.report.calls === given.calls && before.report.inside === given.inside ? before.changed : at;
  seen.set(from, { report: given, at, changed });
}

/** When this thread last looked. */
let looked = now();

/** Whoever has stood still himself, stopped or on a machine that slept, has heard of nobody meanwhile: that time is no one's silence. */
function excuseStall(): void {
  const stood = now() - looked - BEAT;
  looked = now();
  if (stood < 5 * BEAT) return;
  for (const [from, entry] of seen)
    seen.set(from, {
      ...entry,
      at: entry.at + stood,
      changed: entry.changed + stood,
      ...(entry.gone === undefined ? {} : { gone: entry.gone + stood }),
    });
}

/** Rank 0: whether someone is missing where others wait. */
function judge(): void {
  excuseStall();
  note(0, report());
  const present = now();
  const limit = timeout * 1000;
  const all = [...seen].filter(([, { report: r }]) => !r.finished);
  const gone = all.filter(([, s]) => s.gone !== undefined && present - s.gone > GRACE).map(([r]) => r);
  if (gone.length > 0) end(`${names(gone)} ended before the run did`);
  const silent = all.filter(([, s]) => s.gone === undefined && present - s.at > limit).map(([r]) => r);
  if (silent.length > 0) end(`${names(silent)} did not answer for ${timeout} s: stopped, or the machine is lost`);
  const waiting = all.filter(([, s]) => s.report.inside);
  const last = Math.max(0, ...waiting.map(([, s]) => s.report.calls));
  const late = all.filter(([, s]) => s.report.calls < last).map(([r]) => r);
  const since = Math.min(...waiting.filter(([, s]) => s.report.calls === last).map(([, s]) => s.changed));
  if (late.length > 0 && present - since > limit)
    end(`${names(late)} did not come to collective call ${last} within ${timeout} s, where ${names(waiting.map(([r]) => r))} waited`);
}

function listen(local: boolean): void {
  let strangers = 0;
  const server = createServer((socket) => {
    let from = -1;
    if (++strangers > CALLERS) socket.destroy();
    const introduction = setTimeout(() => socket.destroy(), INTRODUCTION);
    const known = (): void => {
      if (from >= 0) strangers--;
      clearTimeout(introduction);
    };
    socket.once('close', () => {
      clearTimeout(introduction);
      if (from < 0) strangers--;
    });
    lines(socket, (value: RankState & { token?: string; rank?: number }) => {
      if (from < 0) {
        if (value.token !== token || !Number.isInteger(value.rank)) return void socket.destroy();
        from = value.rank as number;
        known();
        seen.set(from, { report: { calls: 0, inside: false, finished: false }, at: now(), changed: now() });
        socket.write(`${JSON.stringify(report())}\n`);
        sockets.add(socket);
        const beat = setInterval(() => socket.write(`${JSON.stringify(report())}\n`), BEAT);
        socket.on('close', () => {
          clearInterval(beat);
          sockets.delete(socket);
          const entry = seen.get(from);
          if (entry) entry.gone = now();
        });
        return;
      }
      note(from, value);
    });
  });
  // Ranks of this machine alone need nothing but its loopback.
  server.listen({ port: 0, ...(local ? { host: '127.0.0.1' } : {}) }, () =>
    parentPort?.postMessage((server.address() as { port: number }).port),
  );
  setInterval(judge, BEAT);
}

function join(meeting: Meeting): void {
  const ways = meeting.host === host ? ['127.0.0.1'] : [...meeting.addresses, meeting.host];
  let answered = false;
  const answer = (reached: boolean, why?: string): void => {
    answered = true;
    if (why) writeSync(2, why);
    parentPort?.postMessage(reached);
  };
  const attempt = (k: number): void => {
    if (k >= ways.length) {
      const tried = ways.join(', ');
      answer(false, `mpi: rank ${rank}'s watchdog cannot reach rank 0's (tried ${tried}): if it is lost, it will not be named\n`);
      return;
    }
    const socket = connect({ host: ways[k], port: meeting.port, timeout: 5000 });
    let last = 0;
    socket.once('timeout', () => socket.destroy());
    socket.once('connect', () => {
      socket.setTimeout(0);
      last = now();
      let zeroFinished = false;
      let beaten = now();
      socket.write(`${JSON.stringify({ token: meeting.token, rank })}\n`);
      const beat = setInterval(() => {
        socket.write(`${JSON.stringify(report())}\n`);
        const stood = now() - beaten - BEAT;
        beaten = now();
        if (stood >= 5 * BEAT) last += stood;
        if (!report().finished && !zeroFinished && now() - last > timeout * 1000)
          end(`rank 0 did not answer rank ${rank} for ${timeout} s: stopped, or the machine is lost`);
      }, BEAT);
      sockets.add(socket);
      lines(socket, (value: RankState) => {
        if (!answered) answer(true);
        last = now();
        zeroFinished = value.finished;
      });
      socket.once('close', () => {
        clearInterval(beat);
        sockets.delete(socket);
        setTimeout(() => {
          if (!report().finished && !zeroFinished) end('rank 0 ended before the run did');
        }, GRACE);
      });
    });
    socket.once('close', () => {
      if (last === 0) attempt(k + 1);
    });
    socket.on('error', () => undefined);
  };
  attempt(0);
}

/** Reports out of turn, before the process may end. */
async function tell(): Promise<void> {
  const line = `${JSON.stringify(report())}\n`;
  await Promise.all([...sockets].map((socket) => new Promise<void>((sent) => socket.write(line, () => sent()))));
  parentPort?.postMessage(true);
}

parentPort?.on('message', (message: { listen: 'here' | 'everywhere' } | { file: string } | 'tell' | Meeting) => {
  if (message === 'tell') void tell();
  else if ('listen' in message) listen(message.listen === 'here');
  else if ('file' in message) first = message.file;
  else join(message);
});
