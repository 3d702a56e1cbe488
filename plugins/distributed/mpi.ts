import { COLLECTIVE, type Collective, type Host, oneProcess } from '../../core/index.js';
import { rankFromEnvironment } from './mpi/environment.js';
import { report } from './mpi/report.js';
import { World } from './mpi/world.js';

export interface MpiOptions {
  /** Seconds that ranks wait for one that stays away before it is named and the job ended. */
  readonly timeout?: number;
}

/**
 * The processes that mpirun, mpiexec or srun started, through the MPI library of the same make; one process where none of them did.
 * If a rank fails, hangs or is lost, the whole job ends with an error that names it. Needs Node.
 */
export const mpi = ({ timeout = 600 }: MpiOptions = {}) => {
  let collective: Collective = oneProcess();
  let world: World | undefined;
  return {
    name: 'mpi',
    fills: COLLECTIVE,
    get rank() {
      return collective.rank;
    },
    get worldSize() {
      return collective.worldSize;
    },
    get localRank() {
      return collective.localRank;
    },
    get localSize() {
      return collective.localSize;
    },
    sum: (value: number) => collective.sum(value),
    max: (value: number) => collective.max(value),
    allReduce: (arrays: readonly Float32Array[], options?: { readonly half?: boolean }) => collective.allReduce(arrays, options),
    broadcast: (bytes: Uint8Array | null, from?: number) => collective.broadcast(bytes, from),
    gather: (text: string) => collective.gather(text),
    barrier: () => collective.barrier(),
    async apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        if (!(timeout > 0)) problems.options('mpi').invalid(`timeout is ${timeout}`, 'Give seconds above 0.');
      });
      const launcher = rankFromEnvironment();
      if (launcher === null || launcher.worldSize === 1) return;
      const joined = await World.join(launcher, timeout);
      world = joined;
      ({ collective } = joined);
      joined.ending.runBegins();
      joined.watchdog.runBegins();
      joined.witness?.runBegins();
      hooks.onEnd.tapPromise(async () => {
        // A barrier: rank 0 may still be writing.
        await collective.barrier();
        joined.ending.runEnded();
        joined.witness?.runEnded();
        await joined.watchdog.runEnded();
      });
      hooks.onError.tap((error) => {
        joined.ending.runFailed(error);
        report(collective, error);
        joined.witness?.runEnded();
      });
    },
    dispose: () => world?.ending.abandon(),
  };
};
