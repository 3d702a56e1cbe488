import { rankFromEnvironment } from '../../plugins/distributed/mpi/environment.js';

/**
 * By which `launch` asks its processes to stop, and to end at once: Open MPI's and MPICH's launchers hand the first on to all processes, on other
 * machines too, where at SIGINT and SIGTERM they kill them a moment later. Nobody listens to the second, so that it ends a process also while
 * a step computes.
 */
export const STOP_SIGNAL = 'SIGUSR1';
export const END_SIGNAL = 'SIGUSR2';

/** A process's part in being stopped by `launch`. */
class LaunchStop {
  /** What is done when a stop is asked for; before training there is nothing to save. */
  private act: (() => void) | null = null;
  /** Whether `launch` has asked for a stop. */
  asked = false;

  listen(): void {
    process.on(STOP_SIGNAL, () => {
      if (this.act) this.act();
      // Others may wait for it: the launcher ends them at such a code.
      else if (!this.asked) process.exit(1);
      this.asked = true;
    });
  }

  /** Sets what is done when a stop is asked for; returns what takes that back. */
  on(stop: () => void): () => void {
    this.act = stop;
    return () => {
      this.act = null;
    };
  }
}

/** This process's. */
export const launchStop = new LaunchStop();

// From the beginning: Node's own answer to this signal is to open its debugger.
if (rankFromEnvironment()) launchStop.listen();
