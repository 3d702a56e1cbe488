import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

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
 * $1... is the command; the rank on this machine is what mpirun or srun set.
 */
const ONE_GPU_EACH = `i=\${OMPI_COMM_WORLD_LOCAL_RANK:-\${MPI_LOCALRANKID:-\${SLURM_LOCALID:-0}}}
all=$(ls /dev | grep -E '^nvidia[0-9]+$' | sort -V)
n=$(echo "$all" | wc -l)
mine=$(echo "$all" | sed -n "$((i % n + 1))p")
export STEPLOOM_OWN_GPU=$mine
exec unshare -m sh -c 'for d in $(ls /dev | grep -E "^nvidia[0-9]+$"); do [ "$d" = "$STEPLOOM_OWN_GPU" ] || mount --bind /dev/null "/dev/$d"; done; exec "$@"' sh "$@"`;

const canHide = (): boolean => spawnSync('unshare', ['-m', 'true']).status === 0;

/** A command that shows each process one GPU of its machine, where there are several and mount namespaces are allowed; else as given. */
export function withOneGpu(command: readonly string[], processes: number): readonly string[] {
  if (processes === 1 || gpus().length < 2) return command;
  if (canHide()) return ['sh', '-c', ONE_GPU_EACH, 'sh', ...command];
  console.error('launch: mount namespaces are not allowed here, so that with --device webgpu all processes of a machine use its first GPU');
  return command;
}
