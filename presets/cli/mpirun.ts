import { spawnSync } from 'node:child_process';
import { fail } from '../../core/index.js';

export type Make = 'Open MPI' | 'hydra';

/** Finds mpirun or its like, the one that is wanted or one from PATH, and what make it is of. Throws MPI_MISSING. */
export function findMpirun(wanted: string | undefined): { path: string; make: Make } {
  const names = wanted ? [wanted] : [process.env.MPIRUN, 'mpirun', 'mpiexec'].filter((name): name is string => Boolean(name));
  for (const path of names) {
    const { stdout, error } = spawnSync(path, ['--version'], { encoding: 'utf8' });
    if (error) continue;
    if (/Open MPI|OpenRTE|PRTE|prterun/i.test(stdout)) return { path, make: 'Open MPI' };
    if (/HYDRA|MPICH|Intel/i.test(stdout)) return { path, make: 'hydra' };
  }
  return fail(
    'MPI_MISSING',
    'launch',
    `found neither mpirun nor its like: tried ${names.join(', ')}`,
    'Install one (Debian: apt-get install openmpi-bin), or name it with --mpirun.',
  );
}

/** Flags that start one process each for `processes` ranks: each has several threads, so none is bound to a core. */
export function mpirunFlags(make: Make, processes: number, hosts: string | undefined): string[] {
  const count = ['-n', String(processes)];
  if (make === 'hydra') return [...(hosts ? ['-hosts', hosts] : []), ...count];
  const root = process.getuid?.() === 0;
  // More processes than cores are the user's choice.
  return [...(root ? ['--allow-run-as-root'] : []), '--oversubscribe', '--bind-to', 'none', ...(hosts ? ['--host', hosts] : []), ...count];
}
