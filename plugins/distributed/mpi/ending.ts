import { SteploomError } from '../../../core/index.js';
import type { MpiLibrary } from './library.js';
import { report } from './report.js';
import { LOST } from './watchdog.js';

/** Milliseconds that a program which does not end by itself has to say more, before the whole job is ended. */
const GRACE = 5000;

/** How this process leaves the job when it exits: by finalizing MPI, or, in the middle of a run, by ending all others, which would wait for it. */
export class Ending {
  /** A run has begun and not ended well. */
  private unfinished = false;
  /** That run's error is one that every rank finds by itself. */
  private agreed = false;

  constructor(
    private readonly library: MpiLibrary,
    rank: number,
    worldSize: number,
  ) {
    process.on('exit', (code) => {
      if (!this.unfinished || this.agreed) {
        library.finalize();
        return;
      }
      if (code === 0) {
        const what = 'the process ended before the run did';
        report({ rank, worldSize }, new SteploomError({ code: LOST, plugin: 'mpi', what, fix: 'See what it printed last.' }));
        process.exitCode = 1;
      }
      library.abort(code === 0 ? 1 : code);
    });
  }

  runBegins(): void {
    this.unfinished = true;
    this.agreed = false;
  }

  runEnded(): void {
    this.unfinished = false;
  }

  runFailed(error: unknown): void {
    this.agreed = error instanceof SteploomError && error.everyRank;
  }

  /** Ends the job after a while where the others wait for this rank's run, which has failed. */
  abandon(): void {
    if (this.unfinished && !this.agreed) setTimeout(() => this.library.abort(1), GRACE).unref();
  }
}
