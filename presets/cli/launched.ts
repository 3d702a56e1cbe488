import { rankFromEnvironment } from '../../plugins/distributed/mpi/environment.js';

/**
 * By which `launch` asks its processes to stop, and to end at once: Open MPI's and MPICH's launchers hand the first on to all processes, on other
 * machines too, where at SIGINT and SIGTERM they kill them a moment later. Nobody listens to the second, so that it ends a process also while
 * a step computes.
 */
export const STOP_SIGNAL = 'SIGUSR1';
export const END_SIGNAL = 'SIGUSR2';

/** What a process that `launch` started does when it is asked to stop; before it trains there is nothing to save. */
let act: (() => void) | null = null;
let asked = false;

/** Whether `launch` has asked for a stop. */
export const stoppedByLaunch = (): boolean => asked;

/** Sets what is done when `launch` asks for a stop; returns what takes that back. */
export function onLaunchStop(stop: () => void): () => void {
  act = stop;
  return () => {
    act = null;
  };
}

// From the beginning: Node's own answer to this signal is to open its debugger.
if (rankFromEnvironment())
  process.on(STOP_SIGNAL, () => {
    if (act) act();
    // Others may wait for it: the launcher ends them at such a code.
    else if (!asked) process.exit(1);
    asked = true;
  });
