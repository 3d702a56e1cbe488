import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { z } from 'zod';
import { count } from '../common/options.js';
import { withOneGpu } from './gpu-of-rank.js';
import { findMpirun, mpirunFlags } from './mpirun.js';
import { addOptions, optionsOf } from './options.js';

const launchOptions = z.strictObject({
  processes: count().describe('How many; on a machine with GPUs, one for each.'),
  hosts: z.string().optional().describe('Machines, with commas between, as mpirun takes them: each with :slots where wanted.'),
  mpirun: z.string().optional().describe('What starts the processes; mpirun or mpiexec by default.'),
});

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
async function launch(args: readonly string[], { processes, hosts, mpirun }: z.output<typeof launchOptions>): Promise<number> {
  const { path, make } = findMpirun(mpirun);
  const command = [process.execPath, ...NODE_FLAGS, fileURLToPath(new URL('./main.js', import.meta.url)), ...args];
  const child = spawn(path, [...mpirunFlags(make, processes, hosts), ...withOneGpu(command, processes)], { stdio: 'inherit' });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const pass = (signal: NodeJS.Signals) => void child.kill(signal);
  for (const signal of signals) process.on(signal, pass);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
  } finally {
    for (const signal of signals) process.off(signal, pass);
  }
}
