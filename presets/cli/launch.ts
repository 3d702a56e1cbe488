import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { z } from 'zod';
import { count, text } from '../common/options.js';
import { withOneGpu } from './gpu-of-rank.js';
import { END_SIGNAL, STOP_SIGNAL } from './launched.js';
import { findMpirun, mpirunFlags } from './mpirun.js';
import { addOptions, optionsOf } from './options.js';
import { codeOf, STOP_SIGNALS, type StopSignal, sayStopping } from './signals.js';

const launchOptions = z.strictObject({
  processes: count().describe('How many; on a machine with GPUs, one for each.'),
  hosts: text().optional().describe('Machines, with commas between, as mpirun takes them: each with :slots where wanted.'),
  mpirun: text().optional().describe('What starts the processes; mpirun or mpiexec by default.'),
  grace: z
    .number()
    .positive()
    .default(300)
    .describe('Seconds the processes have to save and end when they are stopped, before they are killed.'),
});

const SCRIPT = fileURLToPath(new URL('./main.js', import.meta.url));

/** Milliseconds after which processes that were asked to stop are asked again, and again: one that was not there yet has not heard. */
const AGAIN = 3000;

/** Milliseconds from telling the processes to end at once until what started them is killed. */
const KILL_AFTER = 900;

/** A step on a GPU makes more small objects than V8's usual 16 MB hold; with several processes all wait for the one that collects garbage. */
const NODE_FLAGS = ['--max-semi-space-size=64'];

/** `steploom launch`: runs another of its commands in several processes. */
export function addLaunch(program: Command): void {
  const command = program
    .command('launch')
    .description('Run a command in several processes that train together: steploom launch --processes 2 -- train emoji.')
    .argument('<command...>', 'What to run, behind --.');
  addOptions(command, launchOptions).action(async (args: string[]) => {
    process.exitCode = await launch(args, optionsOf(command, launchOptions));
  });
}

/** Runs `steploom` with these arguments in several processes. Resolves to the exit code of what started them. */
async function launch(args: readonly string[], { processes, hosts, mpirun, grace }: z.output<typeof launchOptions>): Promise<number> {
  const { path, make } = findMpirun(mpirun);
  const command = [process.execPath, ...NODE_FLAGS, SCRIPT, ...args];
  let stoppedBy: StopSignal | null = null;
  const timers: NodeJS.Timeout[] = [];
  let again: NodeJS.Timeout | undefined;
  const after = (milliseconds: number, act: () => void) => timers.push(setTimeout(act, milliseconds));
  const endAtOnce = () => {
    child.kill(END_SIGNAL);
    after(KILL_AFTER, () => killGroup(child));
  };
  const pass = (signal: StopSignal) => {
    if (stoppedBy) return endAtOnce();
    stoppedBy = signal;
    sayStopping(signal);
    child.kill(STOP_SIGNAL);
    again = setInterval(() => child.kill(STOP_SIGNAL), AGAIN);
    after(grace * 1000, () => {
      console.error(`the processes have not ended within ${grace} s: they are killed`);
      endAtOnce();
    });
  };
  // Before the processes are there: a stop in the moment after would end this one alone. Signals are heard when all of this is done.
  for (const signal of STOP_SIGNALS) process.on(signal, pass);
  // In a session of its own: the terminal's signals would reach mpirun, which kills its processes a moment later. Its output comes through here,
  // since mpirun would end at a pipe that nobody reads any more.
  const child = spawn(path, [...mpirunFlags(make, processes, hosts), ...withOneGpu(command, processes)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ] as const)
    from.on('data', (chunk) => void to.write(chunk));
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      const ended = (code: number | null, signal: NodeJS.Signals | null) =>
        resolve(stoppedBy ? codeOf(stoppedBy) : (code ?? codeOf(signal ?? 'SIGKILL')));
      // With all that it has said; but some process that was killed may have left one behind that holds the pipes.
      child.once('close', ended);
      child.once('exit', (code, signal) => after(500, () => ended(code, signal)));
    });
  } finally {
    clearInterval(again);
    for (const timer of timers) clearTimeout(timer);
    // Where what starts them was gone before it had started all, one may hold them open.
    for (const stream of [child.stdout, child.stderr]) stream.destroy();
    for (const signal of STOP_SIGNALS) process.off(signal, pass);
  }
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
