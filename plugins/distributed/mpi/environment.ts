/** What a launcher told this process through its environment. */
export interface LaunchedRank {
  readonly rank: number;
  readonly worldSize: number;
  /** Whose environment it is, so that the library of the same make is opened. */
  readonly kind: 'openmpi' | 'mpich' | 'slurm';
}

const VARIABLES = [
  ['openmpi', 'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'],
  // MPICH's and Intel MPI's hydra, and srun with PMI 1 or 2.
  ['mpich', 'PMI_RANK', 'PMI_SIZE'],
  // srun with PMIx; the size is Slurm's.
  ['slurm', 'PMIX_RANK', 'SLURM_STEP_NUM_TASKS'],
] as const;

/** Rank and size as mpirun, mpiexec or srun set them; null for a process that none of them started. */
export function rankFromEnvironment(env: NodeJS.ProcessEnv = process.env): LaunchedRank | null {
  for (const [kind, rank, size] of VARIABLES) {
    const [r, n] = [Number(env[rank] ?? Number.NaN), Number(env[size] ?? Number.NaN)];
    if (Number.isInteger(r) && Number.isInteger(n)) return { rank: r, worldSize: n, kind };
  }
  return null;
}
