import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { fail } from '../../core/index.js';

export interface LaunchOptions {
  readonly processes: number;
  /** Machines, as mpirun takes them: names with commas between, each with :slots where wanted. */
  readonly hosts?: string;
  /** The launcher to use; mpirun or mpiexec from PATH by default. */
  readonly mpirun?: string;
}

type Make = 'Open MPI' | 'hydra';

/** A step on a GPU makes more small objects than V8's usual 16 MB hold; with several processes all wait for the one that tidies up. */
const NODE_FLAGS = ['--max-semi-space-size=64'];

/** Finds a launcher and what make it is of. */
function findLauncher(wanted: string | undefined): { path: string; make: Make } {
  const names = wanted ? [wanted] : [process.env.MPIRUN, 'mpirun', 'mpiexec'].filter((name) => name !== undefined);
  for (const path of names) {
    const { stdout, error } = spawnSync(path, ['--version'], { encoding: 'utf8' });
    if (error) continue;
    if (/Open MPI|OpenRTE|PRTE|prterun/i.test(stdout)) return { path, make: 'Open MPI' };
    if (/HYDRA|MPICH|Intel/i.test(stdout)) return { path, make: 'hydra' };
  }
  return fail(
    'MPI_MISSING',
    'launch',
    `found no launcher: tried ${names.join(', ')}`,
    'Install one (Debian: apt-get install openmpi-bin), or name it with --mpirun.',
  );
}

/** Device nodes of NVIDIA's GPUs here. */
const gpus = (): string[] => {
  try {
    return readdirSync('/dev').filter((name) => /^nvidia\d+$/.test(name));
  } catch {
    return [];
  }
};

/**
 * WebGPU cannot tell GPUs of one name apart, so each process gets a mount namespace in which the others' device nodes are empty.
 * $1... is the command; the rank on this machine comes from the launcher.
 */
const OWN_GPU = `i=\${OMPI_COMM_WORLD_LOCAL_RANK:-\${MPI_LOCALRANKID:-\${SLURM_LOCALID:-0}}}
all=$(ls /dev | grep -E '^nvidia[0-9]+$' | sort -V)
n=$(echo "$all" | wc -l)
own=$(echo "$all" | sed -n "$((i % n + 1))p")
export STEPLOOM_OWN_GPU=$own
exec unshare -m sh -c 'for d in $(ls /dev | grep -E "^nvidia[0-9]+$"); do [ "$d" = "$STEPLOOM_OWN_GPU" ] || mount --bind /dev/null "/dev/$d"; done; exec "$@"' sh "$@"`;

const canHide = (): boolean => spawnSync('unshare', ['-m', 'true']).status === 0;

/** Runs `steploom` with these arguments in several processes. Resolves to the launcher's exit code. */
export async function launch(args: readonly string[], { processes, hosts, mpirun }: LaunchOptions): Promise<number> {
  if (!(Number.isInteger(processes) && processes > 0))
    fail('OPTION_INVALID', 'launch', `--processes is ${processes}`, 'Give a whole number above 0.');
  if (args.length === 0)
    fail('OPTION_MISSING', 'launch', 'there is nothing to launch', 'Write it behind --: steploom launch --processes 2 -- train emoji.');
  const { path, make } = findLauncher(mpirun);
  const own = [process.execPath, ...NODE_FLAGS, fileURLToPath(new URL('./main.js', import.meta.url)), ...args];
  const several = gpus().length > 1 && processes > 1;
  if (several && !canHide())
    console.error(
      'launch: mount namespaces are not allowed here, so that with --device webgpu all processes of a machine use its first GPU',
    );
  const command = several && canHide() ? ['sh', '-c', OWN_GPU, 'sh', ...own] : own;
  const root = process.getuid?.() === 0;
  // Each process has threads of its own, so none is bound to a core; more processes than cores are the user's choice.
  const flags =
    make === 'Open MPI'
      ? [...(root ? ['--allow-run-as-root'] : []), '--oversubscribe', '--bind-to', 'none', ...(hosts ? ['--host', hosts] : [])]
      : [...(hosts ? ['-hosts', hosts] : [])];
  const child = spawn(path, [...flags, '-n', String(processes), ...command], { stdio: 'inherit' });
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
