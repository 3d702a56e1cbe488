import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';

/** Signals that ask a run to stop: Ctrl-C, what system tools send, and a terminal that was closed. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const;
type StopSignal = (typeof SIGNALS)[number];

/** By which `launch` asks its processes to stop. */
export const STOP_SIGNAL = 'SIGUSR2';

/** What a process ends with that a signal has stopped. */
export const codeOf = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

/**
 * A shell that ends this process at the second Ctrl-C: JavaScript hears of no signal while a step computes, which can be minutes. It gets what
 * the terminal sends to all, and goes when this process does.
 */
const GUARD = `n=0
trap 'n=$((n+1)); [ $n -ge 2 ] && kill -KILL $PPID' INT
trap '' TERM HUP USR2
while kill -0 $PPID 2>/dev/null; do sleep 1 & wait $!; done`;

function guardInterrupts(): ChildProcess | null {
  if (process.platform === 'win32') return null;
  const guard = spawn('sh', ['-c', GUARD], { stdio: 'ignore' });
  guard.on('error', () => undefined);
  guard.unref();
  return guard;
}

/**
 * Does some work that a signal may ask to stop, through an AbortSignal; the second signal ends the process at once. Returns what the work gave,
 * and the signal that came.
 */
export async function stoppable<T>(work: (signal: AbortSignal) => Promise<T>): Promise<{ result: T; stoppedBy: StopSignal | null }> {
  const controller = new AbortController();
  let stoppedBy: StopSignal | null = null;
  const interrupt = (signal: StopSignal) => {
    if (stoppedBy) process.exit(codeOf(stoppedBy));
    stoppedBy = signal;
    console.error(`\nstopping${signal === 'SIGINT' ? '; Ctrl-C again ends at once' : ''}`);
    controller.abort();
  };
  for (const signal of SIGNALS) process.on(signal, interrupt);
  const guard = guardInterrupts();
  try {
    return { result: await work(controller.signal), stoppedBy };
  } finally {
    guard?.kill('SIGKILL');
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
}

/** What is written to a pipe that nobody reads any more is lost, and nothing else is. */
export function ignoreClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
}
