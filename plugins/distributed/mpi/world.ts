import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { type Collective, fail } from '../../../core/index.js';
import { callsOf } from './calls.js';
import { Ending } from './ending.js';
import type { LaunchedRank } from './environment.js';
import { openMpi } from './library.js';
import { type Meeting, Watchdog } from './watchdog.js';
import { Witness } from './witness.js';

/** This process among those of the job. */
export class World {
  private static joined: Promise<World> | null = null;

  private constructor(
    readonly collective: Collective,
    readonly watchdog: Watchdog,
    readonly ending: Ending,
    /** Where the launcher names no rank. */
    readonly witness: Witness | null,
  ) {}

  /**
   * Initializes MPI, which can be done once a process: all of its runs share what the first has joined. A rank that stays away for
   * `timeout` seconds is named.
   */
  static join(launcher: LaunchedRank, timeout: number): Promise<World> {
    World.joined ??= World.initialize(launcher, timeout);
    return World.joined;
  }

  private static async initialize(launcher: LaunchedRank, timeout: number): Promise<World> {
    const library = openMpi(launcher);
    library.initialize();
    const [rank, worldSize] = [library.rank(), library.size()];
    if (worldSize !== launcher.worldSize)
      fail(
        'MPI_MISSING',
        'mpi',
        `the launcher started ${launcher.worldSize} processes, ${library.path} (${library.version}) knows of ${worldSize}`,
        'The library is of another make than the launcher: name the right one in MPI_LIBRARY.',
      );
    const ending = new Ending(library, rank, worldSize);
    const host = hostname();
    const token = randomUUID();
    const watchdog = new Watchdog({ rank, host, timeout, token: rank === 0 ? token : '', launcher });
    const calls = callsOf(library, rank, worldSize, watchdog);
    const hosts = await calls.gather(host);
    const together = hosts.every((name) => name === host);
    const listening = rank === 0 ? await watchdog.listen(together ? 'here' : 'everywhere') : null;
    const all = await calls.gather(JSON.stringify(listening && { ...listening, host, token }));
    const meeting = JSON.parse(all[0]) as Meeting | null;
    if (rank > 0 && meeting) await watchdog.join(meeting);
    const [job] = await calls.gather(randomUUID());
    const witness = together && launcher.kind === 'mpich' ? new Witness(rank, job) : null;
    if (witness) watchdog.removeFirst(witness.mark);
    // Rank 0 knows of all from here on.
    await calls.barrier();
    const localRank = hosts.slice(0, rank).filter((name) => name === host).length;
    const localSize = hosts.filter((name) => name === host).length;
    return new World({ ...calls, localRank, localSize }, watchdog, ending, witness);
  }
}
