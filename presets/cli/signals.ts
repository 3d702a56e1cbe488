import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { launchStop, STOP_SIGNAL } from './launched.js';

/** Signals that ask a run to stop: Ctrl-C, what system tools send, and a terminal that was closed. */
export const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type StopSignal = (typeof STOP_SIGNALS)[number];

/** What a process ends with that a signal has stopped. */
export const codeOf = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

/** What is said when a signal asks for a stop. */
export const sayStopping = (signal: StopSignal): void =>
  console.error(`\nstopping${signal === 'SIGINT' ? '; Ctrl-C again ends at once' : ''}`);

/**
 * A shell that ends this process at the second Ctrl-C: JavaScript hears of no signal while a step computes, which can be minutes. It gets what
 * the terminal, and a launcher of processes, send to the whole group, and goes when this process does.
 */
const GUARD_SCRIPT = `n=0
trap 'n=$((n+1)); [ $n -ge 2 ] && kill -KILL $PPID' INT
trap '' TERM HUP ${STOP_SIGNAL.slice(3)}
while kill -0 $PPID 2>/dev/null; do sleep 1 & wait $!; done`;

function guardInterrupts(): ChildProcess | null {
  if (process.platform === 'win32') return null;
  const guard = spawn('sh', ['-c', GUARD_SCRIPT], { stdio: 'ignore' });
  guard.on('error', () => undefined);
  guard.unref();
  return guard;
}

/** How work ended that could be stopped. */
export interface Stopped<T> {
  readonly result: T;
  /** The signal that asked for a stop. */
  readonly stoppedBy: StopSignal | null;
  /** Whether an error that nobody caught did. */
  readonly failed: boolean;
}

/**
 * Does some work that a signal may ask to stop, through an AbortSignal; the second signal ends the process at once. An error that nobody catches,
 * thrown in a timer say, asks for a stop as well, so that what was learnt is saved.
 */
export async function stoppable<T>(work: (signal: AbortSignal) => Promise<T>, sayError: (error: unknown) => void): Promise<Stopped<T>> {
  const controller = new AbortController();
  let stoppedBy: StopSignal | null = null;
  let failed = false;
  const interrupt = (signal: StopSignal) => {
    if (stoppedBy) process.exit(codeOf(stoppedBy));
    stoppedBy = signal;
    sayStopping(signal);
    controller.abort();
  };
  const onError = (error: unknown) => {
    failed = true;
    sayError(error);
    controller.abort();
  };
  for (const signal of STOP_SIGNALS) process.on(signal, interrupt);
  process.on('uncaughtException', onError);
  const release = launchStop.on(() => controller.abort());
  const guard = guardInterrupts();
  try {
    return { result: await work(controller.signal), stoppedBy, failed };
  } finally {
    guard?.kill('SIGKILL');
    release();
    process.off('uncaughtException', onError);
    for (const signal of STOP_SIGNALS) process.off(signal, interrupt);
  }
}

/** What cannot be written to the standard streams, since nobody reads a pipe any more or the terminal is gone, is lost, and nothing else is. */
export function ignoreClosedStreams(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}
