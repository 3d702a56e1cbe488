import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { z } from 'zod';
import { count } from '../common/options.js';
import { withOneGpu } from './gpu-of-rank.js';
import { findMpirun, mpirunFlags } from './mpirun.js';
import { addOptions, optionsOf } from './options.js';
import { codeOf, STOP_SIGNAL } from './signals.js';

const launchOptions = z.strictObject({
  processes: count().describe('How many; on a machine with GPUs, one for each.'),
  hosts: z.string().optional().describe('Machines, with commas between, as mpirun takes them: each with :slots where wanted.'),
  mpirun: z.string().optional().describe('What starts the processes; mpirun or mpiexec by default.'),
  grace: z
    .number()
    .positive()
    .default(300)
    .describe('Seconds the processes have to save and end when they are stopped, before they are killed.'),
});

const SCRIPT = fileURLToPath(new URL('./main.js', import.meta.url));

/** Milliseconds between asking mpirun to end its processes and killing it with them. */
const KILL_AFTER = 900;

/** A step on a GPU makes more small objects than V8's usual 16 MB hold; with several processes all wait for the one that collects garbage. */
const NODE_FLAGS = ['--max-semi-space-size=64'];

/** `steploom launch`: runs another of its commands in several processes. */
export function addLaunch(program: Command): void {
  const command = program
    .command('launch')
    .description('Run a command in several processes that train together: steploom launch --processes 2 -- train emoji.')
    .argument('<command...>', 'What to run, behind --.');
  addOptions(command, launchOptions, { mandatory: true }).action(async (args: string[]) => {
    process.exitCode = await launch(args, optionsOf(command, launchOptions));
  });
}

/** Runs `steploom` with these arguments in several processes. Resolves to the exit code of what started them. */
async function launch(args: readonly string[], { processes, hosts, mpirun, grace }: z.output<typeof launchOptions>): Promise<number> {
  const { path, make } = findMpirun(mpirun);
  const command = [process.execPath, ...NODE_FLAGS, SCRIPT, ...args];
  // In a group of its own: the terminal's Ctrl-C would reach mpirun, which kills its processes a second later.
  const child = spawn(path, [...mpirunFlags(make, processes, hosts), ...withOneGpu(command, processes)], {
    stdio: 'inherit',
    detached: true,
  });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  let stoppedBy: NodeJS.Signals | null = null;
  let patience: NodeJS.Timeout | undefined;
  /** mpirun's own way of ending its processes, and, should that not help, all of its group. */
  const kill = () => {
    child.kill('SIGTERM');
    setTimeout(() => killGroup(child), KILL_AFTER).unref();
  };
  const pass = (signal: NodeJS.Signals) => {
    if (stoppedBy) return kill();
    stoppedBy = signal;
    console.error(`\nstopping${signal === 'SIGINT' ? '; Ctrl-C again ends at once' : ''}`);
    // mpirun itself would hand the signal on and kill its processes a second later. One process that is asked tells all the others.
    const processes = processesBelow(child.pid as number, SCRIPT);
    for (const pid of processes) process.kill(pid, STOP_SIGNAL);
    if (processes.length === 0) kill();
    patience = setTimeout(() => {
      console.error(`the processes have not ended within ${grace} s: they are killed`);
      kill();
    }, grace * 1000);
  };
  for (const signal of signals) process.on(signal, pass);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(stoppedBy ? codeOf(stoppedBy) : (code ?? codeOf(signal ?? 'SIGKILL'))));
    });
  } finally {
    clearTimeout(patience);
    for (const signal of signals) process.off(signal, pass);
  }
}

/** The processes of this machine that run a script and descend from another. */
function processesBelow(ancestor: number, script: string): number[] {
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' });
  const rows = (stdout ?? '').split('\n').flatMap((line) => {
    const [, pid, parent, command] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return pid ? [{ pid: Number(pid), parent: Number(parent), command }] : [];
  });
  const family = new Set([ancestor]);
  // Parents may stand behind their children: as often as there is something new.
  for (let size = 0; size < family.size; ) {
    size = family.size;
    for (const { pid, parent } of rows) if (family.has(parent)) family.add(pid);
  }
  return rows.filter(({ pid, command }) => pid !== ancestor && family.has(pid) && isNode(command, script)).map(({ pid }) => pid);
}

/** Whether a command is Node with this script, not a launcher that has both among its arguments. */
const isNode = (command: string, script: string): boolean => command.startsWith(process.execPath) && command.includes(script);

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
